// Agents that are shell scripts.
#include "grpc/fence_run.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

namespace gemel::daemon {
namespace {

struct FenceRunTest : ::testing::Test {
  FenceRunTest() {
    std::string pattern = ::testing::TempDir() + "fenceXXXXXX";
    folder = mkdtemp(pattern.data());
    chmod(folder.c_str(), 0755);  // it is not run as us
  }
  ~FenceRunTest() override { std::filesystem::remove_all(folder); }
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "agents change their user, which takes root";
  }
  FenceAgent Script(const std::string& text) const {
    FenceAgent agent;
    agent.agent = folder + "/fence_script";
    std::ofstream(agent.agent) << "#!/bin/sh\n" << text;
    chmod(agent.agent.c_str(), 0755);
    agent.timeout_seconds = 30;
    return agent;
  }
  void Secret(FenceAgent& agent, mode_t mode) const {
    agent.secret_file = folder + "/secret";
    std::ofstream(agent.secret_file) << "s3cret\nmore\n";
    chmod(agent.secret_file.c_str(), mode);
  }
  FenceOutcome Run(const FenceAgent& agent, const std::string& action = "status") {
    std::optional<FenceOutcome> said;
    runs.Run(agent, action, [&](const FenceOutcome& outcome) { said = outcome; });
    while (!said) loop->RunOnce(1000);
    loop->RunOnce(0);
    return *said;
  }

  std::string folder;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::Create());
  FenceRuns runs{loop.get()};
};

TEST_F(FenceRunTest, ExitStatusAndWhatItSaid_ComeBack) {
  const FenceOutcome said = Run(Script("echo Status:; echo OFF >&2; exit 2\n"));
  EXPECT_TRUE(said.ended);
  EXPECT_EQ(said.status, 2);
  EXPECT_EQ(said.text, "Status: OFF");
}

TEST_F(FenceRunTest, OptionsComeOnStdin_AndTheSecretIsNotRepeated) {
  FenceAgent agent = Script("cat; echo words: $0 $*\n");
  agent.options["ip"] = "10.0.0.9";
  Secret(agent, 0600);
  const FenceOutcome said = Run(agent, "off");
  EXPECT_EQ(said.status, 0);
  EXPECT_EQ(said.text, "action=off ip=10.0.0.9 password=*** words: " + agent.agent);
}

TEST_F(FenceRunTest, SecretThatOthersMayRead_IsRefused) {
  FenceAgent agent = Script("exit 0\n");
  Secret(agent, 0640);
  const FenceOutcome said = Run(agent, "off");
  EXPECT_FALSE(said.ended);
  EXPECT_NE(said.text.find("chmod 600"), std::string::npos) << said.text;
}

TEST_F(FenceRunTest, RunsAsNobodyWithLittleEnvironment) {
  setenv("GEMEL_FENCE_TEST", "leaks", 1);
  const FenceOutcome said = Run(Script("id -u; id -G; echo ${GEMEL_FENCE_TEST-none}\n"));
  unsetenv("GEMEL_FENCE_TEST");
  EXPECT_EQ(said.text, "65534 65534 none");
}

TEST_F(FenceRunTest, Hangs_IsKilledWithWhatItBegan) {
  FenceAgent agent = Script("sleep 60 & echo $! > $(dirname $0)/pid; wait\n");
  agent.user = "root";  // to write there
  agent.timeout_seconds = 1;
  const FenceOutcome said = Run(agent, "off");
  EXPECT_FALSE(said.ended);
  EXPECT_EQ(said.text, "it did not end within 1 s, and was killed");
  pid_t pid = 0;
  std::ifstream(folder + "/pid") >> pid;
  ASSERT_GT(pid, 0);
  const std::string program = fmt::format("/proc/{}/exe", pid);  // none once it is killed
  for (int i = 0; i < 1000 && std::filesystem::exists(program); ++i) usleep(10'000);
  EXPECT_FALSE(std::filesystem::exists(program));
}

TEST_F(FenceRunTest, ThereIsNoSuchProgramOrUser_IsNeitherOnNorOff) {
  FenceAgent agent;
  agent.agent = folder + "/missing";
  FenceOutcome said = Run(agent);
  EXPECT_EQ(said.ended ? PowerOf(said.status) : FencePower::kUnknown, FencePower::kUnknown);
  agent = Script("exit 2\n");
  agent.user = "no-such-user";
  said = Run(agent);
  EXPECT_FALSE(said.ended);
  EXPECT_EQ(said.text, "user: no-such-user: there is no such user");
}

TEST_F(FenceRunTest, SaysVeryMuch_IsCutAndEnds) {
  const FenceOutcome said =
      Run(Script("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; exit 2\n"));
  EXPECT_EQ(said.status, 2);
  EXPECT_LE(said.text.size(), FenceRuns::kMostText);
}

TEST_F(FenceRunTest, EndsWhileOneRuns_NothingIsLeft) {
  FenceAgent agent = Script("echo $$ > $(dirname $0)/pid; exec sleep 60\n");
  agent.user = "root";
  pid_t pid = 0;
  {
    FenceRuns others(loop.get());
    others.Run(agent, "off", [](const FenceOutcome&) { ADD_FAILURE() << "nobody listens"; });
    for (int i = 0; i < 1000 && pid == 0; ++i) {
      usleep(10'000);
      std::ifstream(folder + "/pid") >> pid;
    }
  }
  loop->RunOnce(0);
  ASSERT_GT(pid, 0);
  EXPECT_NE(kill(pid, 0), 0);
}

}  // namespace
}  // namespace gemel::daemon
