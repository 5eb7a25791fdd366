#include "vmm/sandbox/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <tuple>

#include "base/log.h"
#include "block/uring_engine.h"
#include "tests/unit/vmm/sandbox/attempts.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GEMEL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GEMEL_SANITIZED 1
#endif
#endif

namespace gemel::sandbox_test {
namespace {

constexpr char kSecret[] = "secret!";
constexpr std::array<const char*, kThreadRoles> kRoleNames = {"Main", "Vcpu", "Worker",
                                                              "Disk", "Net",  "Stream"};

enum class Walls { kNone, kProcess, kThread };

enum Outcome : int { kSucceeded = 0, kFailed = 1, kCannotTell = 2 };

Loot MakeLoot(Walls walls) {
  Loot loot;
  loot.victim = getppid();
  loot.secret = kSecret;
  loot.event.Reset(eventfd(0, EFD_NONBLOCK));
  char path[] = "/tmp/gemel-sandbox-XXXXXX";
  loot.file.Reset(mkstemp(path));
  unlink(path);
  loot.socket.Reset(socket(AF_UNIX, SOCK_STREAM, 0));
  loot.foreign_network.Reset(open("/proc/self/ns/net", O_RDONLY));
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
    loot.terminal.Reset(open(ptsname(master), O_RDWR | O_NOCTTY));
  if (walls == Walls::kNone) {
    io_uring_queue_init(4, &loot.free_ring, 0);
  } else if (auto ring = block::RestrictedRing::Create(4, loot.file.get(), loot.event.get(),
                                                       block::kUringOpcodes)) {
    loot.ring = *std::move(ring);
  } else {
    io_uring_queue_init(4, &loot.free_ring, 0);  // no io_uring here: any entry is refused
  }
  return loot;
}

// Runs in a child, in the place of the role's thread.
[[noreturn]] void BeHostile(Walls walls, ThreadRole role, int report,
                            const std::function<bool(Loot&)>& run) {
  Loot loot = MakeLoot(walls);
  if (walls != Walls::kNone) sandbox::ConfineProcess(report);
  if (walls == Walls::kThread && role == ThreadRole::kMain) sandbox::ConfineThread(role);
  if (walls != Walls::kThread || role == ThreadRole::kMain) _exit(run(loot) ? kSucceeded : kFailed);
  auto thread = StartThread("hostile", [&] { _exit(run(loot) ? kSucceeded : kFailed); }, role);
  if (thread) thread->join();
  _exit(kCannotTell);
}

struct End {
  int status = 0;      // waitpid's
  std::string report;  // what the handler of SIGSYS said
  bool killed_by(int number) const { return WIFSIGNALED(status) && WTERMSIG(status) == number; }
  bool exited_with(int code) const { return WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

End RunHostile(Walls walls, ThreadRole role, const std::function<bool(Loot&)>& run) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = fork();
  if (child == 0) BeHostile(walls, role, writing.get(), run);
  writing.Reset();
  End end;
  EXPECT_EQ(waitpid(child, &end.status, 0), child);
  std::array<char, 128> text;
  const ssize_t size = read(reading.get(), text.data(), text.size());
  if (size > 0) end.report.assign(text.data(), static_cast<std::size_t>(size));
  return end;
}

class Sandbox : public testing::Test {
 protected:
  void SetUp() override {
#ifdef GEMEL_SANITIZED
    GTEST_SKIP() << "a sanitizer makes system calls of its own";
#endif
    // For the attempt that connects to it.
    listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {AF_UNIX, {}};
    std::strcpy(address.sun_path + 1, "gemel-sandbox-test");
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + 18);
    // SAFETY: sockaddr_un is a sockaddr by the sockets interface.
    if (bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0) {
      ASSERT_EQ(listen(listener_.get(), 8), 0);
    }
  }

 private:
  UniqueFd listener_;
};

// ---- the walls ----------------------------------------------------------------------------------

class EveryAttempt : public Sandbox,
                     public testing::WithParamInterface<std::tuple<std::size_t, std::size_t>> {
 protected:
  ThreadRole role() const { return static_cast<ThreadRole>(std::get<0>(GetParam())); }
  const Attempt& attempt() const { return Attempts()[std::get<1>(GetParam())]; }
};

TEST_P(EveryAttempt, InTheSandbox_FailsOrKills) {
  const End end = RunHostile(Walls::kThread, role(), attempt().run);
  EXPECT_TRUE(end.killed_by(SIGSYS) || end.exited_with(kFailed))
      << "status " << end.status << " " << end.report;
  EXPECT_EQ(end.killed_by(SIGSYS), !end.report.empty()) << end.report;
}

std::string NameOfCase(const testing::TestParamInfo<std::tuple<std::size_t, std::size_t>>& test) {
  return std::string(kRoleNames[std::get<0>(test.param)]) + "_" +
         std::string(Attempts()[std::get<1>(test.param)].name);
}

std::string NameOfAttempt(const testing::TestParamInfo<std::size_t>& test) {
  return std::string(Attempts()[test.param].name);
}

std::string NameOfRole(const testing::TestParamInfo<std::size_t>& test) {
  return kRoleNames[test.param];
}

INSTANTIATE_TEST_SUITE_P(Roles, EveryAttempt,
                         testing::Combine(testing::Range<std::size_t>(0, kThreadRoles),
                                          testing::Range<std::size_t>(0, Attempts().size())),
                         NameOfCase);

// ---- without them the same succeeds: the attempts are real ---------------------------------------

class Control : public Sandbox, public testing::WithParamInterface<std::size_t> {};

TEST_P(Control, WithoutASandbox_Succeeds) {
  const Attempt& attempt = Attempts()[GetParam()];
  if (attempt.needs_root && geteuid() != 0) GTEST_SKIP() << "needs root";
  io_uring probe{};
  if (attempt.name.ends_with("Ring") && io_uring_queue_init(1, &probe, 0) != 0)
    GTEST_SKIP() << "this host refuses io_uring";
  const End end = RunHostile(Walls::kNone, ThreadRole::kMain, attempt.run);
  EXPECT_TRUE(end.exited_with(kSucceeded)) << attempt.name << ": status " << end.status;
}

INSTANTIATE_TEST_SUITE_P(All, Control, testing::Range<std::size_t>(0, Attempts().size()),
                         NameOfAttempt);

// ---- what is told -------------------------------------------------------------------------------

TEST_F(Sandbox, RefusedCall_IsNamedWithItsThread) {
  const End end = RunHostile(Walls::kThread, ThreadRole::kVcpu,
                             [](Loot&) { return socket(AF_INET, SOCK_STREAM, 0) >= 0; });
  EXPECT_TRUE(end.killed_by(SIGSYS));
  EXPECT_EQ(end.report, "socket 41 hostile\n");
}

TEST_F(Sandbox, RefusedUnknownCall_IsNumbered) {
  const End end =
      RunHostile(Walls::kThread, ThreadRole::kWorker, [](Loot&) { return syscall(99999) >= 0; });
  EXPECT_TRUE(end.killed_by(SIGSYS));
  EXPECT_EQ(end.report, "unknown 99999 hostile\n");
}

TEST_F(Sandbox, BlockedSigsys_KillsAllTheSame) {
  const End end = RunHostile(Walls::kThread, ThreadRole::kDisk, [](Loot&) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
  });
  EXPECT_TRUE(end.killed_by(SIGSYS));
}

// ---- what must still work -----------------------------------------------------------------------

class EveryRole : public Sandbox, public testing::WithParamInterface<std::size_t> {
 protected:
  ThreadRole role() const { return static_cast<ThreadRole>(GetParam()); }
};

TEST_P(EveryRole, Abort_EndsTheProcessAsAbort) {
  const End end = RunHostile(Walls::kThread, role(), [](Loot&) -> bool { abort(); });
  EXPECT_TRUE(end.killed_by(SIGABRT)) << end.report;
}

TEST_P(EveryRole, MemoryLogAndEvents_Work) {
  const End end = RunHostile(Walls::kThread, role(), [](Loot& loot) {
    std::string large(64 << 20, 'x');
    large.resize(100 << 20, 'y');
    large.shrink_to_fit();
    WriteUnlessFull(loot.file.get(), "a line\n");
    const std::uint64_t one = 1;
    return write(loot.event.get(), &one, sizeof one) == sizeof one && large.size() == 100u << 20;
  });
  EXPECT_TRUE(end.exited_with(kSucceeded)) << end.report;
}

INSTANTIATE_TEST_SUITE_P(All, EveryRole, testing::Range<std::size_t>(0, kThreadRoles), NameOfRole);

// ---- Landlock alone, before the filters ----------------------------------------------------------

bool HaveLandlock() {
  const pid_t child = fork();
  if (child == 0) _exit(sandbox::ConfineProcess(-1)[1].active ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(Sandbox, BeforeTheFilters_NoFileOpens) {
  if (!HaveLandlock()) GTEST_SKIP() << "this kernel has no Landlock";
  const End end = RunHostile(Walls::kProcess, ThreadRole::kMain,
                             [](Loot&) { return open("/etc/passwd", O_RDONLY) >= 0; });
  EXPECT_TRUE(end.exited_with(kFailed));
}

}  // namespace
}  // namespace gemel::sandbox_test
