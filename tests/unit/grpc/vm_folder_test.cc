#include "grpc/vm_folder.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <string>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

// ---- exit records -------------------------------------------------------------------------------

TEST(ToVmExit, LastWords_SayTheCause) {
  EXPECT_EQ(ToVmExit("exit 0\nended guest-powered-off\n").cause, VmExitCause::kGuestPoweredOff);
  EXPECT_EQ(ToVmExit("exit 0\nended powered-off\n").cause, VmExitCause::kPoweredOff);
  EXPECT_EQ(ToVmExit("exit 0\nended guest-rebooted\n").cause, VmExitCause::kGuestRebooted);
  EXPECT_EQ(ToVmExit("exit 1\nended guest-panicked oops\n").cause, VmExitCause::kGuestPanicked);
}

TEST(ToVmExit, ReasonOfTheVm_IsKept) {
  const VmExit exit = ToVmExit("exit 1\nended triple-fault vCPU 0: triple fault\n");
  EXPECT_EQ(exit.cause, VmExitCause::kTripleFault);
  EXPECT_EQ(exit.reason, "vCPU 0: triple fault");
  EXPECT_EQ(exit.status, 1);
}

TEST(ToVmExit, KilledAfterItsLastWords_IsKilled) {
  const VmExit exit = ToVmExit("signal 9\nended guest-powered-off\n");
  EXPECT_EQ(exit.cause, VmExitCause::kKilled);
  EXPECT_EQ(exit.signal, SIGKILL);
}

TEST(ToVmExit, RefusedCall_NamesIt) {
  const VmExit exit = ToVmExit("signal 31 openat 257 vcpu-0\n");
  EXPECT_EQ(exit.cause, VmExitCause::kRefusedCall);
  EXPECT_NE(exit.reason.find("openat 257 vcpu-0"), std::string::npos);
}

TEST(ToVmExit, NotStarted_SaysWhy) {
  const VmExit exit = ToVmExit("failed exec /x: Permission denied\n");
  EXPECT_EQ(exit.cause, VmExitCause::kNotStarted);
  EXPECT_NE(exit.reason.find("exec /x: Permission denied"), std::string::npos);
}

TEST(ToVmExit, WordsThatNobodyKnows_AreNoCause) {
  EXPECT_EQ(ToVmExit("exit 3\nended in-glory\n").cause, VmExitCause::kCrashed);
  EXPECT_EQ(ToVmExit("\n").cause, VmExitCause::kCrashed);
  EXPECT_FALSE(ToVmExit("").reason.empty());
}

// ---- the folder ---------------------------------------------------------------------------------

class VmFolderTest : public ::testing::Test {
 protected:
  VmFolderTest() {
    // Deeper than a socket's path may be.
    std::string base = "/tmp/vm-folder-XXXXXX";
    base_ = mkdtemp(base.data());
    folder_ = VmFolder(base_ + "/" + std::string(120, 'd'));
    EXPECT_TRUE(folder_.Create());
  }
  ~VmFolderTest() override {
    EXPECT_TRUE(folder_.Remove());
    EXPECT_TRUE(VmFolder(base_).Remove());
  }
  void WriteExit(std::string_view text) {
    const auto file = folder_.CreateFile(kExitFile);
    ASSERT_TRUE(file);
    ASSERT_TRUE(WriteAll(file->get(), std::as_bytes(std::span(text))));
  }

  std::string base_;
  VmFolder folder_{""};
};

TEST_F(VmFolderTest, CreatedTwice_IsRefused) {
  EXPECT_EQ(folder_.Create().error().code, Code::kAlreadyExists);
}

TEST_F(VmFolderTest, DeepPath_SocketIsReached) {
  const auto listener = folder_.Listen(kControlSocket, SOCK_SEQPACKET);
  ASSERT_TRUE(listener) << listener.error().message;
  EXPECT_TRUE(folder_.Connect(kControlSocket, SOCK_SEQPACKET));
}

TEST_F(VmFolderTest, NobodyListens_IsUnavailable) {
  EXPECT_EQ(folder_.Connect(kControlSocket, SOCK_SEQPACKET).error().code, Code::kUnavailable);
}

TEST_F(VmFolderTest, RecordNotComplete_IsNoEnd) {
  EXPECT_FALSE(folder_.ReadExit());
  WriteExit("signal 1");
  EXPECT_FALSE(folder_.ReadExit());
}

TEST_F(VmFolderTest, Record_HasItsTime) {
  WriteExit("exit 0\nended guest-powered-off\n");
  const auto exit = folder_.ReadExit();
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->cause, VmExitCause::kGuestPoweredOff);
  EXPECT_GT(exit->ended_at, 0);
}

}  // namespace
}  // namespace gemel::daemon
