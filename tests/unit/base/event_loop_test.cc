#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <thread>

namespace gemel {
namespace {

TEST(EventLoopTest, Post_FromAnotherThread_RunsOnTheLoopInOrder) {
  auto loop = EventLoop::Create();
  ASSERT_TRUE(loop.has_value());
  std::string order;
  std::thread poster([&] {
    (*loop)->Post([&] { order += "a"; });
    (*loop)->Post([&] { order += "b"; });
    (*loop)->Post([&] { (*loop)->Stop(); });
  });
  (*loop)->Run();
  poster.join();
  EXPECT_EQ(order, "ab");
}

TEST(EventLoopTest, Watch_ReadableFd_CallsBack) {
  auto loop = EventLoop::Create();
  auto event = EventFd::Create();
  ASSERT_TRUE(loop.has_value() && event.has_value());
  int calls = 0;
  ASSERT_TRUE((*loop)
                  ->Watch(event->get(), EPOLLIN,
                          [&](std::uint32_t) {
                            event->Drain();
                            ++calls;
                          })
                  .has_value());
  event->Signal();
  (*loop)->RunOnce(1000);
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopTest, Unwatch_InAnEarlierCallbackOfTheSameBatch_StopsTheLaterOne) {
  auto loop = EventLoop::Create();
  auto first = EventFd::Create();
  auto second = EventFd::Create();
  ASSERT_TRUE(loop.has_value() && first.has_value() && second.has_value());
  int calls = 0;
  const auto unwatch_both = [&](std::uint32_t) {
    ++calls;
    (*loop)->Unwatch(first->get());
    (*loop)->Unwatch(second->get());
  };
  ASSERT_TRUE((*loop)->Watch(first->get(), EPOLLIN, unwatch_both).has_value());
  ASSERT_TRUE((*loop)->Watch(second->get(), EPOLLIN, unwatch_both).has_value());
  first->Signal();
  second->Signal();
  (*loop)->RunOnce(1000);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace gemel
