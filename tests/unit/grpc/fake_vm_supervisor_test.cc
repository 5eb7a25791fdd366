#include "tests/fakes/fake_vm_supervisor.h"

#include <gtest/gtest.h>

namespace gemel::daemon {
namespace {

using testing::FakeVmSupervisor;

class FakeVmSupervisorTest : public ::testing::Test {
 protected:
  FakeVmSupervisorTest()
      : loop_(std::move(*EventLoop::Create())),
        supervisor_(loop_.get(), [this](const VmUid& uid, const VmEvent& event) {
          if (const auto* ended = std::get_if<VmEnded>(&event))
            ends_.emplace_back(uid, ended->exit.cause);
        }) {}

  Status Start(const VmUid& uid) {
    VmStart start;
    start.uid = uid;
    std::optional<Status> answer;
    supervisor_.Start(std::move(start), [&](const Status& status) { answer = status; });
    while (!answer) loop_->RunOnce(-1);
    return *answer;
  }

  std::unique_ptr<EventLoop> loop_;
  std::vector<std::pair<VmUid, VmExitCause>> ends_;
  FakeVmSupervisor supervisor_;
};

TEST_F(FakeVmSupervisorTest, StartedTwice_SecondIsRefused) {
  EXPECT_TRUE(Start("a"));
  EXPECT_EQ(Start("a").error().code, Code::kAlreadyExists);
}

TEST_F(FakeVmSupervisorTest, PowerOff_TellsTheEndAndIsReleased) {
  ASSERT_TRUE(Start("a"));
  supervisor_.PowerOff("a", [](const Status&) {});
  while (ends_.empty()) loop_->RunOnce(-1);
  EXPECT_EQ(ends_[0].second, VmExitCause::kPoweredOff);
  EXPECT_TRUE(supervisor_.Release("a"));
  EXPECT_TRUE(Start("a"));
}

TEST_F(FakeVmSupervisorTest, FailNext_NextAnswerIsThatError) {
  supervisor_.FailNext({Code::kResourceExhausted, "memory: none left"});
  EXPECT_EQ(Start("a").error().code, Code::kResourceExhausted);
  EXPECT_TRUE(Start("a"));
}

}  // namespace
}  // namespace gemel::daemon
