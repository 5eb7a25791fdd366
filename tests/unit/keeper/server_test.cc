#include "keeper/server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

namespace gemel::keeper {
namespace {

struct ServerTest : ::testing::Test {
  ServerTest() : loop(EventLoop::Create().value()) {
    std::string name = ::testing::TempDir() + "keeper-XXXXXX";
    folder = mkdtemp(name.data());
    server = Server::Create(loop.get(), path(),
                            {[this](const Statement& said) {
                               heard.push_back(said);
                               if (tells) server->Tell();
                             },
                             [this] { return ViewMessage{view, {}}; }})
                 .value();
    view.node = 1;
  }
  ~ServerTest() override {
    server.reset();
    unlink(path().c_str());
    rmdir(folder.c_str());
  }
  std::string path() const { return folder + "/keeper.sock"; }
  ControlChannel Connect() {
    UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path().c_str(), path().size() + 1);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    loop->RunOnce(-1);
    return ControlChannel::Adopt(std::move(fd)).value();
  }
  std::unique_ptr<EventLoop> loop;
  std::string folder;
  View view;
  bool tells = false;
  std::vector<Statement> heard;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, Connected_IsToldAtOnceAndAfterEachChange) {
  ControlChannel client = Connect();
  ASSERT_EQ(client.Receive()->state, Received::State::kMessage);
  EXPECT_EQ(client.Receive()->state, Received::State::kNothing);
  view.highest = {7};
  server->Tell();
  auto told = client.Receive();
  ASSERT_EQ(told->state, Received::State::kMessage);
  EXPECT_EQ(DecodeView(std::move(told->message))->view.highest.value, 7);
}

TEST_F(ServerTest, Statement_IsHeard) {
  ControlChannel client = Connect();
  ASSERT_TRUE(client.Send(EncodeStatement(Quiet{{1, 2}})));
  loop->RunOnce(-1);
  EXPECT_EQ(heard, (std::vector<Statement>{Quiet{{1, 2}}}));
}

TEST_F(ServerTest, Garbage_EndsTheConnectionAlone) {
  ControlChannel bad = Connect();
  ControlChannel good = Connect();
  ASSERT_TRUE(bad.Send({"\xff", {}}));
  loop->RunOnce(-1);
  static_cast<void>(bad.Receive());
  EXPECT_EQ(bad.Receive()->state, Received::State::kClosed);
  ASSERT_TRUE(good.Send(EncodeStatement(Drained{true})));
  loop->RunOnce(-1);
  EXPECT_EQ(heard.size(), 1U);
}

TEST_F(ServerTest, WhoDoesNotRead_IsDropped) {
  ControlChannel lazy = Connect();
  for (int i = 0; i < 10'000; ++i) server->Tell();
  Received::State last = Received::State::kNothing;
  do {
    last = lazy.Receive()->state;
  } while (last == Received::State::kMessage);
  EXPECT_EQ(last, Received::State::kClosed);
}

TEST_F(ServerTest, DroppedWhileItSpeaks_IsNotTouchedAgain) {
  ControlChannel lazy = Connect();
  tells = true;
  // Its statements are served together; telling it of the first ones drops it.
  for (int i = 0; i < 10'000; ++i) server->Tell();
  static_cast<void>(lazy.Send(EncodeStatement(Drained{true})));
  loop->RunOnce(0);
  EXPECT_LE(heard.size(), 1U);
}

TEST_F(ServerTest, TooMany_AreRefused) {
  std::vector<ControlChannel> clients;
  for (int i = 0; i < 9; ++i) clients.push_back(Connect());
  EXPECT_EQ(clients[7].Receive()->state, Received::State::kMessage);
  EXPECT_EQ(clients[8].Receive()->state, Received::State::kClosed);
}

}  // namespace
}  // namespace gemel::keeper
