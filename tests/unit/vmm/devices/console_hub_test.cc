#include "vmm/devices/console_hub.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/check.h"
#include "base/load_le.h"

namespace gemel {
namespace {

constexpr std::uint64_t kNothingOld = ~0ull;

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

class FakePort final : public SerialPort {
 public:
  std::size_t RoomForInput() override { return room; }
  void Receive(std::span<const std::byte> bytes) override {
    for (const std::byte byte : bytes) input += static_cast<char>(byte);
    room -= std::min(room, bytes.size());
  }
  void OutputReady() override {}

  std::string input;
  std::size_t room = SIZE_MAX;
};

class ConsoleHubTest : public ::testing::Test {
 protected:
  ConsoleHubTest() : loop_(std::move(*EventLoop::Create())) {
    signal(SIGPIPE, SIG_IGN);
    // An address that the kernel picks, in no file system.
    UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    address_.sun_family = AF_UNIX;
    CHECK(bind(listener.get(), AsAddress(), sizeof(sa_family_t)) == 0);
    address_size_ = sizeof address_;
    CHECK(getsockname(listener.get(), AsAddress(), &address_size_) == 0);
    CHECK(listen(listener.get(), 8) == 0);
    last_ = UniqueFd(memfd_create("last", MFD_CLOEXEC));
    hub_ = std::move(*ConsoleHub::Create("serial", loop_.get(), std::move(listener),
                                         UniqueFd(dup(last_.get())), 64 << 10));
    hub_->Connect(&port_);
  }

  void Settle() {
    for (int i = 0; i < 50; ++i) loop_->RunOnce(0);
  }
  // A connection that has said nothing yet.
  UniqueFd Connect() {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(connect(client.get(), AsAddress(), address_size_) == 0);
    Settle();
    return client;
  }
  UniqueFd Attach(std::uint64_t from) {
    UniqueFd client = Connect();
    std::array<std::byte, 8> request;
    StoreLe(std::span(request), 0, from);
    Type(client, {reinterpret_cast<const char*>(request.data()), request.size()});
    return client;
  }
  void Type(const UniqueFd& client, std::string_view text) {
    CHECK(write(client.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    Settle();
  }
  // All that there is now; "EOF" at the end of one that was closed.
  std::string ReadNow(const UniqueFd& client) {
    std::string all;
    for (;;) {
      Settle();
      char buffer[4096];
      const ssize_t n = recv(client.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (n < 0) return all;
      if (n == 0) return all + "EOF";
      all.append(buffer, static_cast<std::size_t>(n));
    }
  }
  static std::uint64_t First(const std::string& got) {
    CHECK(got.size() >= 8);
    return LoadLe64(AsBytes(got));
  }
  void Print(std::string_view text) { EXPECT_EQ(hub_->Write(AsBytes(text)), text.size()); }
  // SAFETY: how addresses are passed to the kernel.
  sockaddr* AsAddress() { return reinterpret_cast<sockaddr*>(&address_); }

  sockaddr_un address_{};
  socklen_t address_size_ = 0;
  std::unique_ptr<EventLoop> loop_;
  FakePort port_;
  UniqueFd last_;
  std::unique_ptr<ConsoleHub> hub_;
};

TEST_F(ConsoleHubTest, AttachedLater_GetsWhatWasPrintedBefore) {
  Print("hello\n");
  const std::string got = ReadNow(Attach(0));
  EXPECT_EQ(First(got), 0u);
  EXPECT_EQ(got.substr(8), "hello\n");
}

TEST_F(ConsoleHubTest, NothingOldWanted_GetsOnlyWhatComes) {
  Print("old");
  const UniqueFd client = Attach(kNothingOld);
  Print("new");
  const std::string got = ReadNow(client);
  EXPECT_EQ(First(got), 3u);
  EXPECT_EQ(got.substr(8), "new");
}

TEST_F(ConsoleHubTest, CameAgainWhereItLeft_GetsTheRest) {
  Print("abcdef");
  EXPECT_EQ(ReadNow(Attach(4)).substr(8), "ef");
}

TEST_F(ConsoleHubTest, MoreThanIsKept_BeginsWithTheOldestKept) {
  Print(std::string(64 << 10, 'a'));
  Print("bc");
  const std::string got = ReadNow(Attach(0));
  EXPECT_EQ(First(got), 2u);
  EXPECT_EQ(got.size(), 8u + (64 << 10));
  EXPECT_TRUE(got.ends_with("abc"));
}

TEST_F(ConsoleHubTest, TwoReaders_BothGetAll) {
  const UniqueFd one = Attach(0);
  const UniqueFd other = Attach(0);
  Print("x");
  EXPECT_EQ(ReadNow(one).substr(8), "x");
  EXPECT_EQ(ReadNow(other).substr(8), "x");
}

TEST_F(ConsoleHubTest, ReaderThatDoesNotRead_GuestNeverWaitsAndItIsClosed) {
  const UniqueFd slow = Attach(0);
  const std::string block(4096, 'z');
  for (int i = 0; i < 1024; ++i) {
    Print(block);
    loop_->RunOnce(0);
  }
  EXPECT_EQ(hub_->clients(), 0u);
  EXPECT_TRUE(ReadNow(slow).ends_with("zEOF"));
}

TEST_F(ConsoleHubTest, Typed_ReachesTheGuestAfterTheRequest) {
  const UniqueFd client = Attach(0);
  Type(client, "ls\n");
  EXPECT_EQ(port_.input, "ls\n");
}

TEST_F(ConsoleHubTest, RequestInPieces_IsPutTogether) {
  const UniqueFd client = Connect();
  for (int i = 0; i < 8; ++i) Type(client, std::string(1, '\0'));
  Type(client, "x");
  EXPECT_EQ(port_.input, "x");
}

TEST_F(ConsoleHubTest, PortWithoutRoom_InputWaitsEvenFromOneThatLeft) {
  port_.room = 2;
  {
    const UniqueFd client = Attach(0);
    Type(client, "abcd");
  }
  Settle();
  EXPECT_EQ(port_.input, "ab");
  port_.room = 10;
  hub_->WantInput();
  Settle();
  EXPECT_EQ(port_.input, "abcd");
  EXPECT_EQ(hub_->clients(), 0u);
}

TEST_F(ConsoleHubTest, HalfClosed_StillReads) {
  const UniqueFd client = Attach(0);
  shutdown(client.get(), SHUT_WR);
  Settle();
  Print("still");
  EXPECT_EQ(ReadNow(client).substr(8), "still");
}

TEST_F(ConsoleHubTest, TooManyClients_OneMoreIsClosed) {
  std::vector<UniqueFd> clients;
  for (std::size_t i = 0; i < ConsoleHub::kMostClients; ++i) clients.push_back(Connect());
  EXPECT_EQ(ReadNow(Connect()), "EOF");
  EXPECT_EQ(hub_->clients(), ConsoleHub::kMostClients);
}

TEST_F(ConsoleHubTest, EndOfTheMachine_LastOutputIsInTheFile) {
  Print("Kernel panic\n");
  hub_->Deliver(0);
  char kept[64];
  const ssize_t n = pread(last_.get(), kept, sizeof kept, 0);
  ASSERT_EQ(n, 8 + 13);
  EXPECT_EQ(std::string(kept + 8, 13), "Kernel panic\n");
}

TEST_F(ConsoleHubTest, EndOfTheMachine_ReaderGetsTheRest) {
  const UniqueFd client = Attach(0);
  Print("bye\n");
  hub_->Deliver(1000);
  hub_.reset();
  EXPECT_EQ(ReadNow(client).substr(8), "bye\nEOF");
}

}  // namespace
}  // namespace gemel
