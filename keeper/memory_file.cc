#include "keeper/memory_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <optional>

#include "base/file_util.h"
#include "base/log.h"
#include "base/thread.h"
#include "keeper/real_time.h"

namespace gemel::keeper {
namespace {

constexpr std::size_t kMostBytes = 4096;

// Takes "<prefix><number>" from the front of `text`.
template <class T>
bool TakeNumber(std::string_view& text, std::string_view prefix, T* number) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

}  // namespace

std::string EncodeMemory(const MemoryState& state) {
  return fmt::format("incarnation {} {}\nhighest {}\nalarmed {}\n", state.incarnation,
                     state.incarnation_revision.value, state.highest.value, state.alarmed ? 1 : 0);
}

Result<MemoryState> DecodeMemory(std::string_view text) {
  MemoryState state;
  int alarmed = 0;
  const bool whole = TakeNumber(text, "incarnation ", &state.incarnation) &&
                     TakeNumber(text, " ", &state.incarnation_revision.value) &&
                     TakeNumber(text, "\nhighest ", &state.highest.value) &&
                     TakeNumber(text, "\nalarmed ", &alarmed) && text == "\n";
  const bool sane = state.incarnation_revision.value >= 0 && state.highest.value >= 0 &&
                    (alarmed == 0 || alarmed == 1);
  if (!whole || !sane)
    return MakeError(Code::kDataLoss, "it does not say what was seen of the cluster");
  state.alarmed = alarmed == 1;
  return state;
}

Result<MemoryState> MemoryFile::Read(const std::string& path) {
  struct stat facts{};
  if (stat(path.c_str(), &facts) != 0 && errno == ENOENT) return MemoryState{};
  const Result<std::string> text = ReadTextFile(path, kMostBytes);
  if (!text) return std::unexpected(text.error());
  Result<MemoryState> state = DecodeMemory(*text);
  if (!state) return WithContext(std::move(state).error(), path);
  return state;
}

Result<std::unique_ptr<MemoryFile>> MemoryFile::Create(EventLoop* loop, std::string path) {
  ASSIGN_OR_RETURN(std::unique_ptr<EventLoop> writer, EventLoop::Create());
  std::unique_ptr<MemoryFile> file(new MemoryFile(loop, std::move(writer), std::move(path)));
  ASSIGN_OR_RETURN(file->thread_, StartThread("memory", [raw = file->writer_.get()] {
                     LeaveRealTime();
                     raw->Run();
                   }));
  return file;
}

MemoryFile::~MemoryFile() {
  if (!thread_.joinable()) return;
  writer_->Post([raw = writer_.get()] { raw->Stop(); });
  thread_.join();
}

void MemoryFile::Save(const MemoryState& state, std::function<void()> durable) {
  writer_->Post([this, state, durable = std::move(durable)] {
    const Status saved = ReplaceFile(path_, EncodeMemory(state));
    if (!saved) {
      LOG(kError, "keeper", "what was seen of the cluster cannot be kept: {}",
          saved.error().message);
    } else if (durable) {
      loop_->Post(durable);
    }
  });
}

}  // namespace gemel::keeper
