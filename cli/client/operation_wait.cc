#include "cli/client/operation_wait.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "cli/client/api_name.h"
#include "cli/report.h"
#include "proto/gemel/v1/operations.pb.h"

namespace gemel::cli {
namespace {

constexpr std::int64_t kPollMs = 1'000;
// A server that restarts is away for less than this.
constexpr std::int64_t kPatienceMs = 30'000;
constexpr int kInterrupted = 130;

// For the signal handler, which can do nothing but write it.
std::array<char, 512> g_farewell{};

void OnInterrupt(int) {
  static_cast<void>(!write(STDERR_FILENO, g_farewell.data(), strlen(g_farewell.data())));
  _exit(kInterrupted);
}

// While it lives, Ctrl-C says that the work goes on.
class Farewell {
 public:
  explicit Farewell(const std::string& operation) {
    const std::string text = fmt::format(
        "\ngemel: it goes on without you; to see it end: gemel operation wait {}\n", operation);
    const std::size_t length = std::min(text.size(), g_farewell.size() - 1);
    std::memcpy(g_farewell.data(), text.data(), length);
    g_farewell.at(length) = '\0';
    struct sigaction action{};
    action.sa_handler = OnInterrupt;
    sigaction(SIGINT, &action, &before_);
  }
  ~Farewell() { sigaction(SIGINT, &before_, nullptr); }
  Farewell(const Farewell&) = delete;
  Farewell& operator=(const Farewell&) = delete;

 private:
  struct sigaction before_{};
};

// One line on a terminal that is written over; nothing elsewhere.
class ProgressLine {
 public:
  ~ProgressLine() { Show(""); }
  void Show(std::string_view text) {
    if (!OnTerminal(STDERR_FILENO) || text == shown_) return;
    WriteUnlessFull(STDERR_FILENO, fmt::format("\r\x1b[K{}", Printable(text)));
    shown_ = text;
  }

 private:
  std::string shown_;
};

std::string ProgressText(const v1::Operation& operation) {
  const v1::OperationMetadata& metadata = operation.metadata();
  const int percent = metadata.progress_percent();
  return fmt::format("{}  {}{}", LastPart(metadata.target()),
                     metadata.stage().empty() ? metadata.verb() : metadata.stage(),
                     percent > 0 ? fmt::format("  {} %", percent) : "");
}

}  // namespace

Status WaitForOperation(Session& session, v1::Operation operation) {
  const Farewell farewell(ShortName(session.project(), operation.name()));
  ProgressLine line;
  std::int64_t last_answer = MonotonicMs();
  while (!operation.done()) {
    line.Show(ProgressText(operation));
    RETURN_IF_ERROR(session.CheckTime());
    v1::WaitOperationRequest request;
    request.set_name(operation.name());
    request.mutable_timeout()->set_seconds(kPollMs / 1000);
    v1::Operation next;
    auto waited = session.Call("Operations/Wait", request, &next, kPollMs + 10'000);
    if (waited) {
      operation = std::move(next);
      last_answer = MonotonicMs();
      continue;
    }
    const bool away = waited.error().code == Code::kUnavailable;
    if (session.CheckTime() && !(away && MonotonicMs() - last_answer < kPatienceMs)) return waited;
    line.Show("waiting for the server");
    usleep(200'000);
  }
  if (operation.has_error())
    return std::unexpected(FromRpcStatus(operation.error(), session.command()));
  return {};
}

Status FinishChange(Session& session, const v1::Operation& operation, const std::string& what) {
  const std::string id = ShortName(session.project(), operation.name());
  const std::string target = ShortName(session.project(), operation.metadata().target());
  if (session.wait()) RETURN_IF_ERROR(WaitForOperation(session, operation));
  if (operation.done() && operation.has_error())
    return std::unexpected(FromRpcStatus(operation.error(), session.command()));
  if (session.format() == Format::kJson) return Print(ToJson(operation));
  if (session.format() != Format::kTable && session.format() != Format::kWide)
    return session.ShowOne(operation, id, Table({}));
  if (session.dry_run()) return Print(fmt::format("{}: {}: would be done\n", target, what));
  if (session.wait() || operation.done()) return Print(fmt::format("{}: {}\n", target, what));
  return Print(fmt::format("{}: {} begun        to see it end: gemel operation wait {}\n", target,
                           what, id));
}

}  // namespace gemel::cli
