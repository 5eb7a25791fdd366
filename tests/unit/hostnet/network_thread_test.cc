#include "hostnet/network_thread.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/fakes/fake_hostnet.h"

namespace gemel::hostnet {
namespace {

NetworkSpec Managed() {
  ManagedBridge bridge;
  bridge.subnet = {{0x0a580000}, 24};
  return {"n1", bridge};
}

class NetworkThreadTest : public testing::Test {
 protected:
  Result<std::unique_ptr<HostNetworks>> Make() {
    return std::make_unique<HostNetworks>(
        HostNetworks::Options{*Names::Create("gm"), testing::TempDir()}, FakeHost(&kernel_));
  }

  FakeKernel kernel_;
};

TEST_F(NetworkThreadTest, Tasks_RunInOrderElsewhere) {
  auto thread = NetworkThread::Start([this](EventLoop*) { return Make(); });
  ASSERT_TRUE(thread);
  std::promise<std::thread::id> where;
  std::string bridge = "not asked";
  (*thread)->Post(
      [](HostNetworks& networks) { static_cast<void>(networks.PutNetwork(Managed())); });
  (*thread)->Post([&](HostNetworks& networks) {
    bridge = networks.BridgeOf("n1");
    where.set_value(std::this_thread::get_id());
  });
  EXPECT_NE(where.get_future().get(), std::this_thread::get_id());
  EXPECT_EQ(bridge, Names::Create("gm")->Bridge("n1"));
}

TEST_F(NetworkThreadTest, HostThatCannotBeOpened_IsAnError) {
  const auto thread = NetworkThread::Start([](EventLoop*) {
    return Result<std::unique_ptr<HostNetworks>>(
        MakeError(Code::kPermissionDenied, "netlink: not allowed"));
  });
  ASSERT_FALSE(thread);
  EXPECT_EQ(thread.error().message, "netlink: not allowed");
}

TEST_F(NetworkThreadTest, End_LeavesTheNetworks) {
  auto thread = NetworkThread::Start([this](EventLoop*) { return Make(); });
  ASSERT_TRUE(thread);
  std::promise<void> done;
  (*thread)->Post([&](HostNetworks& networks) {
    static_cast<void>(networks.PutNetwork(Managed()));
    done.set_value();
  });
  done.get_future().get();
  thread->reset();
  EXPECT_EQ(kernel_.links.size(), 1U);
}

}  // namespace
}  // namespace gemel::hostnet
