#include "grpc/keeper_link.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "keeper/server.h"

namespace gemel::daemon {
namespace {

using keeper::Statement;
using keeper::ViewMessage;

struct KeeperLinkTest : ::testing::Test {
  KeeperLinkTest() : loop(EventLoop::Create().value()) {
    std::string name = ::testing::TempDir() + "link-XXXXXX";
    folder = mkdtemp(name.data());
    view.node = 1;
  }
  ~KeeperLinkTest() override {
    server.reset();
    unlink(path().c_str());
    rmdir(folder.c_str());
  }
  std::string path() const { return folder + "/keeper.sock"; }
  void Serve() {
    server = keeper::Server::Create(loop.get(), path(),
                                    {[this](const Statement& said) { heard.push_back(said); },
                                     [this] {
                                       return ViewMessage{
                                           view, page ? page->OpenForReader().value() : UniqueFd()};
                                     }})
                 .value();
  }
  void RunUntil(const std::function<bool()>& wanted) {
    while (!wanted()) loop->RunOnce(-1);
  }
  std::unique_ptr<EventLoop> loop;
  std::string folder;
  keeper::View view;
  std::optional<cluster::PageWriter> page;
  std::vector<Statement> heard;
  std::unique_ptr<keeper::Server> server;
};

TEST_F(KeeperLinkTest, KeeperIsNotThereYet_IsFoundWhenItComes) {
  KeeperSocket link(loop.get(), path(), [] {});
  EXPECT_EQ(link.view(), nullptr);
  EXPECT_FALSE(link.OpenPage());
  Serve();
  RunUntil([&] { return link.view() != nullptr; });
  EXPECT_EQ(link.view()->node, 1U);
}

TEST_F(KeeperLinkTest, Session_HasAPageToBeGivenAway) {
  page.emplace(cluster::PageWriter::Create({{1, 2}, {1'000}, false}).value());
  Serve();
  KeeperSocket link(loop.get(), path(), [] {});
  RunUntil([&] { return link.view() != nullptr; });
  EXPECT_TRUE(link.page().Allows({1, 2}, {999}));
  EXPECT_TRUE(cluster::PageReader::Map(link.OpenPage().value()));
}

TEST_F(KeeperLinkTest, Said_IsHeard) {
  Serve();
  KeeperSocket link(loop.get(), path(), [] {});
  RunUntil([&] { return link.view() != nullptr; });
  link.Say(keeper::Quiet{{1, 2}});
  RunUntil([&] { return !heard.empty(); });
  EXPECT_EQ(heard[0], Statement(keeper::Quiet{{1, 2}}));
}

TEST_F(KeeperLinkTest, KeeperGoes_ItsPageIsReadOnAndTheNextOneIsFound) {
  page.emplace(cluster::PageWriter::Create({{1, 2}, {1'000}, false}).value());
  Serve();
  KeeperSocket link(loop.get(), path(), [] {});
  RunUntil([&] { return link.view() != nullptr; });
  server.reset();
  RunUntil([&] { return !link.connected(); });
  EXPECT_TRUE(link.page().Allows({1, 2}, {999}));
  page->Poison();
  EXPECT_FALSE(link.page().Allows({1, 2}, {999}));
  view.highest = {77};
  Serve();
  RunUntil([&] { return link.view()->highest.value == 77; });
}

TEST_F(KeeperLinkTest, FalsePage_EndsTheConnection) {
  Serve();
  int changes = 0;
  KeeperSocket link(loop.get(), path(), [&] { ++changes; });
  RunUntil([&] { return link.view() != nullptr; });
  server =
      keeper::Server::Create(loop.get(), path(),
                             {[](const Statement&) {},
                              [this] { return ViewMessage{view, UniqueFd(dup(STDOUT_FILENO))}; }})
          .value();
  RunUntil([&] { return !link.connected(); });
  RunUntil([&] { return link.connected(); });
  RunUntil([&] { return !link.connected(); });
  EXPECT_EQ(changes, 1);
}

}  // namespace
}  // namespace gemel::daemon
