#include "hostnet/sysctls.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/fakes/fake_hostnet.h"

namespace gemel::hostnet {
namespace {

class ForwardingTest : public testing::Test {
 protected:
  ForwardingTest() {
    kernel_.sysctls["ipv4/conf/eth0/forwarding"] = "1";
    kernel_.sysctls["ipv4/conf/eth1/forwarding"] = "0";
    kernel_.sysctls["ipv4/conf/all/accept_redirects"] = "0";
  }
  ~ForwardingTest() override { std::filesystem::remove(record_); }

  FakeKernel kernel_;
  FakeSysctls sysctls_{&kernel_};
  std::string record_ = testing::TempDir() + "/forwarding-record";
  Forwarding forwarding_{&sysctls_, record_, "boot 1\n"};
};

TEST_F(ForwardingTest, NeedAndRestore_LeaveEverySettingAsItWas) {
  const auto before = kernel_.sysctls;
  ASSERT_TRUE(forwarding_.Need());
  EXPECT_EQ(kernel_.sysctls["ipv4/conf/eth1/forwarding"], "1");
  ASSERT_TRUE(forwarding_.Need());
  ASSERT_TRUE(forwarding_.Restore());
  EXPECT_EQ(kernel_.sysctls, before);
  EXPECT_FALSE(std::filesystem::exists(record_));
}

TEST_F(ForwardingTest, OnAlready_IsNotOurs) {
  kernel_.sysctls["ipv4/ip_forward"] = "1";
  const auto before = kernel_.sysctls;
  ASSERT_TRUE(forwarding_.Need());
  ASSERT_TRUE(forwarding_.Restore());
  EXPECT_EQ(kernel_.sysctls, before);
}

TEST_F(ForwardingTest, FailureAtAnyStep_IsMadeGoodByTheNext) {
  const auto before = kernel_.sysctls;
  for (int step = 0; step < 6; ++step) {
    kernel_.changes = 0;
    kernel_.fail_at = step;
    static_cast<void>(forwarding_.Need());
    static_cast<void>(forwarding_.Restore());
    kernel_.fail_at = -1;
    if (step % 2 == 0) {
      ASSERT_TRUE(forwarding_.Need());
    }
    ASSERT_TRUE(forwarding_.Restore());
    EXPECT_EQ(kernel_.sysctls, before) << step;
  }
}

TEST_F(ForwardingTest, HostStartedAnew_RecordOfAnotherLifeGoes) {
  ASSERT_TRUE(forwarding_.Need());
  kernel_.sysctls = {{"ipv4/ip_forward", "0"}, {"ipv4/conf/eth0/forwarding", "0"}};
  const auto before = kernel_.sysctls;
  Forwarding after{&sysctls_, record_, "boot 2\n"};
  ASSERT_TRUE(after.Restore());
  EXPECT_EQ(kernel_.sysctls, before);
  EXPECT_FALSE(std::filesystem::exists(record_));
}

}  // namespace
}  // namespace gemel::hostnet
