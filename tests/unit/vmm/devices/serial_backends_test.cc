#include "vmm/devices/serial_backends.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "base/check.h"

namespace gemel {
namespace {

class FakePort final : public SerialPort {
 public:
  std::size_t RoomForInput() override { return room; }
  void Receive(std::span<const std::byte> bytes) override {
    for (const std::byte byte : bytes) input += static_cast<char>(byte);
    room -= std::min(room, bytes.size());
  }
  void OutputReady() override { ++ready; }

  std::string input;
  std::size_t room = SIZE_MAX;
  int ready = 0;
};

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string ReadNow(int fd) {
  char buffer[65536];
  const ssize_t n = read(fd, buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
}

// The next output, waited for.
std::string ReadSoon(int fd) {
  pollfd poll_in{fd, POLLIN, 0};
  return poll(&poll_in, 1, 10'000) == 1 ? ReadNow(fd) : std::string();
}

class BackendTest : public ::testing::Test {
 protected:
  BackendTest() {
    signal(SIGPIPE, SIG_IGN);
    auto loop = EventLoop::Create();
    CHECK(loop.has_value());
    loop_ = *std::move(loop);
  }
  // Handles what is ready until nothing is.
  void Settle() {
    for (int i = 0; i < 20; ++i) loop_->RunOnce(0);
  }
  // A pty hands bytes over by a kernel worker: waits for the loop until `text` has come in.
  void AwaitInput(std::string_view text) {
    for (int i = 0; i < 100 && port_.input != text; ++i) loop_->RunOnce(100);
    EXPECT_EQ(port_.input, text);
  }
  // Writes until the backend takes no more; how much it took.
  static std::size_t Fill(SerialBackend& backend) {
    const std::string block(4096, 'x');
    std::size_t taken = 0;
    while (taken < (64u << 20)) {
      const std::size_t n = backend.Write(AsBytes(block));
      taken += n;
      if (n < block.size()) break;
    }
    return taken;
  }

  std::unique_ptr<EventLoop> loop_;
  FakePort port_;
};

// ---- descriptors --------------------------------------------------------------------------------

class FdBackendTest : public BackendTest {
 protected:
  // Pipes, in the mode given; the test has the other ends.
  void MakeBackend(int flags) {
    int in[2];
    int out[2];
    CHECK(pipe2(in, O_CLOEXEC | flags) == 0 && pipe2(out, O_CLOEXEC | flags) == 0);
    typing_ = UniqueFd(in[1]);
    screen_ = UniqueFd(out[0]);
    backend_ = std::make_unique<FdBackend>("com1", loop_.get(), UniqueFd(in[0]), UniqueFd(out[1]));
    backend_->Connect(&port_);
  }
  void Type(std::string_view text) {
    CHECK(write(typing_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    Settle();
  }

  UniqueFd typing_;
  UniqueFd screen_;
  std::unique_ptr<FdBackend> backend_;
};

TEST_F(FdBackendTest, Output_IsWrittenAtOnce) {
  MakeBackend(O_NONBLOCK);
  EXPECT_EQ(backend_->Write(AsBytes("hi\n")), 3u);
  EXPECT_EQ(ReadNow(screen_.get()), "hi\n");
}

TEST_F(FdBackendTest, Input_IsReceived) {
  MakeBackend(O_NONBLOCK);
  Type("ls\n");
  EXPECT_EQ(port_.input, "ls\n");
}

TEST_F(FdBackendTest, PortWithoutRoom_InputWaitsUntilWanted) {
  MakeBackend(O_NONBLOCK);
  port_.room = 2;
  Type("abcd");
  EXPECT_EQ(port_.input, "ab");
  port_.room = SIZE_MAX;
  Settle();
  EXPECT_EQ(port_.input, "ab");
  backend_->WantInput();
  Settle();
  EXPECT_EQ(port_.input, "abcd");
}

TEST_F(FdBackendTest, PortWithoutRoom_LoopDoesNotSpin) {
  MakeBackend(O_NONBLOCK);
  port_.room = 0;
  Type("abcd");
  typing_.Reset();  // epoll reports a hang-up whatever it was asked for
  Settle();
  bool ran = false;
  loop_->Post([&] { ran = true; });
  loop_->RunOnce(-1);
  EXPECT_TRUE(ran);
  port_.room = SIZE_MAX;
  backend_->WantInput();
  Settle();
  EXPECT_EQ(port_.input, "abcd");
}

TEST_F(FdBackendTest, EndOfInput_OutputGoesOn) {
  MakeBackend(O_NONBLOCK);
  typing_.Reset();
  Settle();
  EXPECT_EQ(backend_->Write(AsBytes("x")), 1u);
  EXPECT_EQ(ReadNow(screen_.get()), "x");
}

TEST_F(FdBackendTest, ReaderThatDoesNotRead_StallsAndResumes) {
  MakeBackend(O_NONBLOCK);
  EXPECT_LT(Fill(*backend_), 1u << 20);
  Settle();
  EXPECT_EQ(port_.ready, 0);
  while (!ReadNow(screen_.get()).empty()) {
  }
  Settle();
  EXPECT_EQ(port_.ready, 1);
  EXPECT_EQ(backend_->Write(AsBytes("x")), 1u);
}

TEST_F(FdBackendTest, BlockingPipeThatIsFull_StallsInsteadOfBlocking) {
  MakeBackend(0);
  EXPECT_LT(Fill(*backend_), 1u << 20);
  Settle();
  EXPECT_EQ(port_.ready, 0);
  char buffer[8192];
  ASSERT_EQ(read(screen_.get(), buffer, sizeof buffer), 8192);
  Settle();
  EXPECT_EQ(port_.ready, 1);
}

TEST_F(FdBackendTest, ReaderGone_OutputIsLostAndCounted) {
  MakeBackend(O_NONBLOCK);
  screen_.Reset();
  EXPECT_EQ(backend_->Write(AsBytes("abc")), 3u);
  EXPECT_EQ(backend_->lost(), 3u);
}

TEST_F(FdBackendTest, ReaderGoneWhileStalled_GuestGoesOn) {
  MakeBackend(O_NONBLOCK);
  Fill(*backend_);
  Settle();
  screen_.Reset();
  Settle();
  EXPECT_EQ(port_.ready, 1);
}

TEST_F(BackendTest, FullDisk_OutputIsLostAndCounted) {
  UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full);
  FdBackend backend("com1", loop_.get(), UniqueFd(), std::move(full));
  backend.Connect(&port_);
  EXPECT_EQ(backend.Write(AsBytes("abc")), 3u);
  EXPECT_EQ(backend.lost(), 3u);
}

TEST_F(BackendTest, RegularFileAsInput_IsReadAsThereIsRoom) {
  UniqueFd file(memfd_create("typed", MFD_CLOEXEC));
  ASSERT_EQ(pwrite(file.get(), "abcd", 4, 0), 4);
  FdBackend backend("com1", loop_.get(), std::move(file), UniqueFd());
  port_.room = 3;
  backend.Connect(&port_);
  Settle();
  EXPECT_EQ(port_.input, "abc");
  port_.room = SIZE_MAX;
  backend.WantInput();
  Settle();
  EXPECT_EQ(port_.input, "abcd");
}

TEST_F(BackendTest, DevNullAsInput_IsItsEnd) {
  FdBackend backend("com1", loop_.get(), UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)),
                    UniqueFd());
  backend.Connect(&port_);
  Settle();
  EXPECT_EQ(port_.input, "");
}

// ---- pty ----------------------------------------------------------------------------------------

class PtyBackendTest : public BackendTest {
 protected:
  PtyBackendTest() {
    auto backend =
        PtyBackend::Create(loop_.get(), UniqueFd(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)));
    CHECK(backend.has_value());
    backend_ = *std::move(backend);
    backend_->Connect(&port_);
    Settle();
  }
  UniqueFd OpenSlave() {
    return UniqueFd(open(backend_->path().c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  }
  // As the chip does: offers again what was not taken, once told to.
  void Send(std::string_view text) {
    const std::size_t taken = backend_->Write(AsBytes(text));
    if (taken == text.size()) return;
    Settle();
    CHECK(backend_->Write(AsBytes(text.substr(taken))) == text.size() - taken);
  }

  std::unique_ptr<PtyBackend> backend_;
};

TEST_F(PtyBackendTest, NobodyThere_OutputIsDropped) { EXPECT_GE(Fill(*backend_), 64u << 20); }

TEST_F(PtyBackendTest, Opened_SeesOutputFromThenOn) {
  Send("before");
  const UniqueFd slave = OpenSlave();
  Send("after");
  EXPECT_EQ(ReadSoon(slave.get()), "after");
}

TEST_F(PtyBackendTest, OpenedAndTyped_IsReceivedAsItIs) {
  const UniqueFd slave = OpenSlave();
  ASSERT_EQ(write(slave.get(), "a\r", 2), 2);
  AwaitInput("a\r");
}

TEST_F(PtyBackendTest, ClosedAndOpenedAgain_Works) {
  UniqueFd slave = OpenSlave();
  Send("one");
  EXPECT_EQ(ReadSoon(slave.get()), "one");
  slave.Reset();
  Settle();
  Send("two");
  slave = OpenSlave();
  Send("three");
  EXPECT_EQ(ReadSoon(slave.get()), "three");
  ASSERT_EQ(write(slave.get(), "x", 1), 1);
  AwaitInput("x");
}

TEST_F(PtyBackendTest, OpenedButNotRead_StallsUntilClosed) {
  UniqueFd slave = OpenSlave();
  Send("x");
  EXPECT_LT(Fill(*backend_), 1u << 20);
  Settle();
  port_.ready = 0;
  slave.Reset();
  Settle();
  EXPECT_GE(port_.ready, 1);
  EXPECT_GE(Fill(*backend_), 64u << 20);
}

TEST_F(PtyBackendTest, NobodyThere_LoopDoesNotSpin) {
  UniqueFd slave = OpenSlave();
  Send("x");
  slave.Reset();
  Settle();
  bool ran = false;
  loop_->Post([&] { ran = true; });
  loop_->RunOnce(-1);
  EXPECT_TRUE(ran);
}

// ---- socket -------------------------------------------------------------------------------------

class SocketBackendTest : public BackendTest {
 protected:
  SocketBackendTest() {
    // An abstract address chosen by the kernel: nothing to clean up.
    UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un any{};
    any.sun_family = AF_UNIX;
    // SAFETY: sockaddr_un is what AF_UNIX passes as sockaddr.
    CHECK(bind(listener.get(), reinterpret_cast<sockaddr*>(&any), sizeof any.sun_family) == 0);
    CHECK(listen(listener.get(), 5) == 0);
    size_ = sizeof address_;
    CHECK(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address_), &size_) == 0);
    backend_ = std::make_unique<SocketBackend>("com1", loop_.get(), std::move(listener));
    backend_->Connect(&port_);
  }
  UniqueFd ConnectClient() {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    CHECK(connect(client.get(), reinterpret_cast<sockaddr*>(&address_), size_) == 0);
    Settle();
    return client;
  }

  sockaddr_un address_{};
  socklen_t size_ = 0;
  std::unique_ptr<SocketBackend> backend_;
};

TEST_F(SocketBackendTest, NoClient_OutputIsDropped) { EXPECT_GE(Fill(*backend_), 64u << 20); }

TEST_F(SocketBackendTest, Client_TalksBothWays) {
  const UniqueFd client = ConnectClient();
  EXPECT_EQ(backend_->Write(AsBytes("hello")), 5u);
  EXPECT_EQ(ReadNow(client.get()), "hello");
  ASSERT_EQ(write(client.get(), "ls\n", 3), 3);
  Settle();
  EXPECT_EQ(port_.input, "ls\n");
}

TEST_F(SocketBackendTest, SecondClient_IsClosedAndTheFirstStays) {
  const UniqueFd first = ConnectClient();
  const UniqueFd second = ConnectClient();
  char byte;
  EXPECT_EQ(read(second.get(), &byte, 1), 0);
  EXPECT_EQ(backend_->Write(AsBytes("x")), 1u);
  EXPECT_EQ(ReadNow(first.get()), "x");
}

TEST_F(SocketBackendTest, ClientLeft_TheNextIsLetIn) {
  ConnectClient().Reset();
  Settle();
  const UniqueFd second = ConnectClient();
  EXPECT_EQ(backend_->Write(AsBytes("x")), 1u);
  EXPECT_EQ(ReadNow(second.get()), "x");
}

TEST_F(SocketBackendTest, ClientLeftWithUnreadInput_InputStillArrives) {
  port_.room = 1;
  UniqueFd client = ConnectClient();
  ASSERT_EQ(write(client.get(), "abc", 3), 3);
  client.Reset();
  Settle();
  port_.room = SIZE_MAX;
  backend_->WantInput();
  Settle();
  EXPECT_EQ(port_.input, "abc");
}

TEST_F(SocketBackendTest, ClientLeftWithInputNobodyReads_TheNextIsLetIn) {
  port_.room = 0;
  UniqueFd first = ConnectClient();
  ASSERT_EQ(write(first.get(), "abc", 3), 3);
  Settle();
  first.Reset();
  Settle();
  const UniqueFd second = ConnectClient();
  EXPECT_EQ(backend_->Write(AsBytes("x")), 1u);
  EXPECT_EQ(ReadNow(second.get()), "x");
}

TEST_F(SocketBackendTest, SlowClient_StallsAndResumes) {
  const UniqueFd client = ConnectClient();
  EXPECT_LT(Fill(*backend_), 8u << 20);
  Settle();
  port_.ready = 0;
  while (!ReadNow(client.get()).empty()) {
  }
  Settle();
  EXPECT_EQ(port_.ready, 1);
}

TEST_F(SocketBackendTest, ClientLeftWhileStalled_GuestGoesOn) {
  UniqueFd client = ConnectClient();
  Fill(*backend_);
  Settle();
  port_.ready = 0;
  client.Reset();
  Settle();
  EXPECT_GE(port_.ready, 1);
  EXPECT_GE(Fill(*backend_), 64u << 20);
}

TEST_F(SocketBackendTest, HalfClosedClient_StillGetsOutput) {
  const UniqueFd client = ConnectClient();
  ASSERT_EQ(shutdown(client.get(), SHUT_WR), 0);
  Settle();
  EXPECT_EQ(backend_->Write(AsBytes("x")), 1u);
  EXPECT_EQ(ReadNow(client.get()), "x");
}

}  // namespace
}  // namespace gemel
