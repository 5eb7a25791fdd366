#include "virtio/vsock/dial.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/check.h"

namespace gemel::virtio {
namespace {

struct Pair {
  explicit Pair(int type) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0);
    a.Reset(ends[0]);
    b.Reset(ends[1]);
  }
  UniqueFd a, b;
};

TEST(VsockDial, Request_Arrives) {
  const Pair pair(SOCK_SEQPACKET);
  ASSERT_EQ(SendDialRequest(pair.a.get(), {7, 1024}), VsockDialState::kDone);
  VsockDialRequest request;
  ASSERT_EQ(ReceiveDialRequest(pair.b.get(), request), VsockDialState::kDone);
  EXPECT_EQ(request.id, 7u);
  EXPECT_EQ(request.port, 1024u);
  EXPECT_EQ(ReceiveDialRequest(pair.b.get(), request), VsockDialState::kAgain);
}

TEST(VsockDial, Reply_BringsTheDescriptor) {
  const Pair pair(SOCK_SEQPACKET);
  Pair stream(SOCK_STREAM);
  VsockDialReply sent{.id = 3, .error = 0, .fd = std::move(stream.a)};
  ASSERT_EQ(SendDialReply(pair.a.get(), sent), VsockDialState::kDone);
  VsockDialReply reply;
  ASSERT_EQ(ReceiveDialReply(pair.b.get(), reply), VsockDialState::kDone);
  EXPECT_EQ(reply.id, 3u);
  ASSERT_TRUE(reply.fd);
  ASSERT_EQ(write(reply.fd.get(), "x", 1), 1);
  char got = 0;
  EXPECT_EQ(read(stream.b.get(), &got, 1), 1);
}

TEST(VsockDial, Error_BringsNone) {
  const Pair pair(SOCK_SEQPACKET);
  ASSERT_EQ(SendDialReply(pair.a.get(), {.id = 3, .error = ECONNREFUSED, .fd = {}}),
            VsockDialState::kDone);
  VsockDialReply reply;
  ASSERT_EQ(ReceiveDialReply(pair.b.get(), reply), VsockDialState::kDone);
  EXPECT_EQ(reply.error, ECONNREFUSED);
  EXPECT_FALSE(reply.fd);
}

TEST(VsockDial, SuccessWithoutDescriptor_IsAnError) {
  const Pair pair(SOCK_SEQPACKET);
  ASSERT_EQ(write(pair.a.get(), "\1\0\0\0\0\0\0\0", 8), 8);
  VsockDialReply reply;
  ASSERT_EQ(ReceiveDialReply(pair.b.get(), reply), VsockDialState::kDone);
  EXPECT_EQ(reply.error, EMFILE);
}

TEST(VsockDial, MessageOfAnotherLength_IsTheEnd) {
  const Pair pair(SOCK_SEQPACKET);
  VsockDialReply reply;
  ASSERT_EQ(write(pair.a.get(), "1234567", 7), 7);
  EXPECT_EQ(ReceiveDialReply(pair.b.get(), reply), VsockDialState::kGone);
  ASSERT_EQ(write(pair.a.get(), "123456789", 9), 9);
  EXPECT_EQ(ReceiveDialReply(pair.b.get(), reply), VsockDialState::kGone);
}

TEST(VsockDial, ClosedOtherEnd_IsTheEnd) {
  Pair pair(SOCK_SEQPACKET);
  pair.a.Reset();
  VsockDialReply reply;
  EXPECT_EQ(ReceiveDialReply(pair.b.get(), reply), VsockDialState::kGone);
  EXPECT_EQ(SendDialRequest(pair.b.get(), {1, 1}), VsockDialState::kGone);
}

}  // namespace
}  // namespace gemel::virtio
