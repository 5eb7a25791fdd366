// gemel vm console: the serial console of a VM on this terminal.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/event_fd.h"
#include "base/file_util.h"
#include "base/log.h"
#include "base/mutex.h"
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "proto/gemel/v1/consoles.grpc.pb.h"

namespace gemel::cli {
namespace {

constexpr char kEscape = 0x1d;  // Ctrl-]
constexpr const char* kEscapeHelp =
    "Ctrl-] and then: q leave (the VM runs on), t take over "
    "writing, ? this help, Ctrl-] send it to the guest";

using Stream =
    grpc::ClientReaderWriterInterface<v1::AttachConsoleRequest, v1::AttachConsoleResponse>;

// What the keyboard asks of us, and the stream to which its bytes go. Two threads: this thread of ours
// reads stdin; the command's reads the stream.
class Keyboard {
 public:
  explicit Keyboard(bool terminal) : terminal_(terminal) {
    auto stop = EventFd::Create();
    if (stop) stop_.emplace(*std::move(stop));
  }
  ~Keyboard() {
    if (stop_) stop_->Signal();
    if (thread_.joinable()) thread_.join();
  }

  void Start() {
    thread_ = std::thread([this]() noexcept { Run(); });
  }
  // The stream and its context, or null between two connections; what is typed then is lost.
  void Use(Stream* stream, grpc::ClientContext* context) {
    const MutexLock lock(mutex_);
    stream_ = stream;
    context_ = context;
  }
  bool left() const { return left_; }

 private:
  void Run() {
    std::array<char, 4096> bytes{};
    while (!left_ && stop_) {
      pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {stop_->get(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
      if (fds[1].revents != 0) return;
      if (fds[0].revents == 0) continue;
      const ssize_t n = read(STDIN_FILENO, bytes.data(), bytes.size());
      if (n <= 0) return EndOfInput();
      Take({bytes.data(), static_cast<std::size_t>(n)});
    }
  }

  // A script's input is over; its output goes on until the guest is off.
  void EndOfInput() {
    if (terminal_) Leave();
  }

  void Take(std::string_view typed) {
    if (!terminal_) return Send(std::string(typed));
    std::string for_guest;
    for (const char c : typed) {
      if (!escaped_ && c == kEscape) {
        escaped_ = true;
        continue;
      }
      if (!escaped_ || c == kEscape) {
        for_guest += c;
      } else if (c == 'q' || c == '.') {
        Leave();
      } else if (c == 't') {
        TakeOver();
      } else {
        PrintNote(kEscapeHelp);
      }
      escaped_ = false;
    }
    if (!for_guest.empty()) Send(std::move(for_guest));
  }

  void Send(std::string bytes) {
    v1::AttachConsoleRequest request;
    request.set_input(std::move(bytes));
    Write(request);
  }
  void TakeOver() {
    v1::AttachConsoleRequest request;
    request.mutable_take_writer()->set_take_over(true);
    Write(request);
  }
  void Write(const v1::AttachConsoleRequest& request) {
    const MutexLock lock(mutex_);
    if (stream_ != nullptr) stream_->Write(request);  // a broken stream is the reader's to see
  }
  void Leave() {
    left_ = true;
    const MutexLock lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }

  const bool terminal_;
  std::optional<EventFd> stop_;
  std::atomic<bool> left_ = false;
  bool escaped_ = false;
  Mutex mutex_;
  Stream* stream_ GUARDED_BY(mutex_) = nullptr;
  grpc::ClientContext* context_ GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

struct ConsoleOptions {
  std::string name;
  bool read_only = false;
  bool take_over = false;
  bool no_follow = false;
};

class ConsoleSession {
 public:
  ConsoleSession(Session* session, ConsoleOptions options, std::string name, bool terminal)
      : session_(session),
        options_(std::move(options)),
        name_(std::move(name)),
        keyboard_(terminal) {}

  Status Run() {
    if (!options_.read_only && !options_.no_follow) keyboard_.Start();
    while (true) {
      const grpc::Status status = Attach();
      if (ended_ || keyboard_.left()) return {};
      if (status.ok() && options_.no_follow) return {};
      RETURN_IF_ERROR(session_->CheckTime());
      const bool away = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE;
      if (!away || !opened_) return std::unexpected(session_->ErrorOf(status));
      PrintNote("the connection broke; attaching again (Ctrl-] q leaves)");
      usleep(500'000);
      session_->GoOn();
    }
  }

 private:
  grpc::Status Attach() {
    const auto channel = session_->Channel();
    if (!channel)
      return {static_cast<grpc::StatusCode>(channel.error().code), channel.error().message};
    const auto stub = v1::Consoles::NewStub(*channel);
    grpc::ClientContext context;
    if (const auto left = session_->TimeLeftMs())
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(*left));
    const std::unique_ptr<Stream> stream = stub->Attach(&context);
    v1::AttachConsoleRequest request;
    v1::OpenConsole& open = *request.mutable_open();
    open.set_name(name_);
    open.set_write(!options_.read_only && !options_.no_follow);
    open.set_take_over(options_.take_over || opened_);
    open.set_follow(!options_.no_follow);
    if (opened_) open.set_offset(next_offset_);
    if (stream->Write(request)) {
      keyboard_.Use(stream.get(), &context);
      v1::AttachConsoleResponse response;
      while (!ended_ && !keyboard_.left() && stream->Read(&response)) Take(response);
      keyboard_.Use(nullptr, nullptr);
    }
    if (ended_ || keyboard_.left()) context.TryCancel();
    return stream->Finish();
  }

  void Take(const v1::AttachConsoleResponse& response) {
    if (response.has_opened()) {
      if (!opened_) Greet(response.opened());
      opened_ = true;
      next_offset_ = std::max(next_offset_, response.opened().first_offset());
    } else if (response.has_output()) {
      TakeOutput(response.output());
    } else if (response.has_writer_changed()) {
      const v1::WriterChanged& changed = response.writer_changed();
      PrintNote(changed.self()             ? "you write now"
                : changed.writer().empty() ? "nobody writes now (Ctrl-] t: you)"
                                           : changed.writer() + " writes now (Ctrl-] t: you)");
    } else if (response.has_ended()) {
      ended_ = true;
      PrintNote(fmt::format("the VM is off: {}", response.ended().reason()));
    }
  }

  void Greet(const v1::ConsoleOpened& opened) const {
    if (options_.no_follow || !OnTerminal(STDERR_FILENO)) return;
    PrintNote(fmt::format("console of {}{}; Ctrl-] q leaves, Ctrl-] ? says more", LastPart(name_),
                          opened.writer() ? "" : ", to read"));
  }

  void TakeOutput(const v1::ConsoleOutput& output) {
    if (opened_ && output.offset() > next_offset_)
      PrintNote(fmt::format("{} bytes were lost", output.offset() - next_offset_));
    next_offset_ = output.offset() + output.data().size();
    // Whoever reads our output and has gone is noticed here.
    const auto bytes = std::as_bytes(std::span(output.data()));
    if (!WriteAll(STDOUT_FILENO, bytes)) ended_ = true;
  }

  Session* const session_;
  const ConsoleOptions options_;
  const std::string name_;
  Keyboard keyboard_;
  bool opened_ = false;
  bool ended_ = false;
  std::uint64_t next_offset_ = 0;
};

}  // namespace

Status VmConsole(Words words) {
  Session session("vm console");
  ConsoleOptions options;
  OptionParser parser(R"(Examples:
  gemel vm console web
  gemel vm console web --log > web.log

The serial console of a VM, from the last 1 MiB on. Ctrl-] q leaves it; the VM runs on. If the server
restarts, it is attached again where it was.)");
  parser.AddOption("NAME", options.name, "which").Required();
  parser.AddFlag("--read-only", options.read_only, "do not write; any number may read");
  parser.AddFlag("--take-over", options.take_over, "write, even if somebody else does");
  parser.AddFlag("--log", options.no_follow, "what is kept of its output, and no more");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const std::string name, session.NameOf("vms", options.name));
  Terminal terminal(STDIN_FILENO);
  const bool keys = terminal.is_terminal() && !options.read_only && !options.no_follow;
  if (keys) terminal.EnterRaw();
  ConsoleSession console(&session, options, name, keys);
  auto status = console.Run();
  terminal.Restore();
  return status;
}

}  // namespace gemel::cli
