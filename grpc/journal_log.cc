#include "grpc/journal_log.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/load_le.h"
#include "base/unique_fd.h"

namespace gemel::daemon {
namespace {

// Beyond this journald wants a memfd instead.
constexpr std::size_t kMostMessageBytes = 32 << 10;

// Connected to the journal; lives as long as the process, whose other threads log to its end.
int g_journal = -1;

// syslog(3).
int PriorityOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return 7;
    case LogLevel::kInfo:
      return 6;
    case LogLevel::kWarning:
      return 4;
    case LogLevel::kError:
      break;
  }
  return 3;
}

// "NAME=value\n"; with a newline in it: "NAME\n", its length in 8 bytes little-endian, it, "\n".
void AddField(std::string& entry, std::string_view name, std::string_view value) {
  entry += name;
  if (value.find('\n') == value.npos) {
    entry += '=';
  } else {
    std::array<std::byte, 8> size{};
    StoreLe(std::span(size), 0, static_cast<std::uint64_t>(value.size()));
    entry += '\n';
    for (const std::byte byte : size) entry += static_cast<char>(byte);
  }
  entry += value;
  entry += '\n';
}

bool Send(const LogLine& line) {
  const std::string entry = JournalEntry(line);
  return send(g_journal, entry.data(), entry.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(entry.size());
}

}  // namespace

bool StderrIsJournal(const char* journal_stream) {
  struct stat info{};
  if (journal_stream == nullptr || fstat(STDERR_FILENO, &info) != 0) return false;
  return fmt::format("{}:{}", info.st_dev, info.st_ino) == journal_stream;
}

std::string JournalEntry(const LogLine& line) {
  std::string entry;
  AddField(entry, "PRIORITY", fmt::format("{}", PriorityOf(line.level)));
  AddField(entry, "SYSLOG_IDENTIFIER", "gemeld");
  AddField(entry, "GEMEL_COMPONENT", line.component);
  if (!line.request_id.empty()) AddField(entry, "GEMEL_REQUEST_ID", line.request_id);
  AddField(entry, "MESSAGE", line.message.substr(0, kMostMessageBytes));
  return entry;
}

Status LogToJournal(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return InvalidArgument("{}: too long", path);
  std::copy(path.begin(), path.end(), static_cast<char*>(address.sun_path));
  UniqueFd journal(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!journal) return ErrnoError(errno, "socket");
  // SAFETY: the kernel's address types are made to be cast so.
  if (connect(journal.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return ErrnoError(errno, path);
  g_journal = journal.Release();
  SetLogSink(Send);
  return {};
}

}  // namespace gemel::daemon
