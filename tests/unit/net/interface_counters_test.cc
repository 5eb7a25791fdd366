#include "net/interface_counters.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <utility>

namespace gemel::net {
namespace {

// Files in the place of those in /sys: what the interface has sent, and received.
class InterfaceCountersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (UniqueFd& file : files_) file = UniqueFd(memfd_create("counter", MFD_CLOEXEC));
  }
  void Say(std::size_t index, std::string_view text) {
    ASSERT_EQ(ftruncate(files_[index].get(), 0), 0);
    ASSERT_EQ(pwrite(files_[index].get(), text.data(), text.size(), 0),
              static_cast<ssize_t>(text.size()));
  }
  InterfaceCounters Make() const {
    std::vector<UniqueFd> copies;
    for (const UniqueFd& file : files_) copies.emplace_back(dup(file.get()));
    return InterfaceCounters(std::move(copies));
  }

  std::array<UniqueFd, InterfaceCounters::kFiles> files_;  // rx is the guest's, as in Values
};

TEST_F(InterfaceCountersTest, Read_IsWhatWasMovedSinceItWasMade) {
  Say(0, "10\n");
  Say(1, "1000\n");
  Say(2, "20\n");
  Say(3, "2000\n");
  const InterfaceCounters counters = Make();
  Say(0, "13\n");
  Say(1, "1300\n");
  Say(2, "21\n");
  Say(3, "2100\n");
  const InterfaceCounters::Values values = counters.Read();
  EXPECT_EQ(values.rx_packets, 3u);
  EXPECT_EQ(values.rx_bytes, 300u);
  EXPECT_EQ(values.tx_packets, 1u);
  EXPECT_EQ(values.tx_bytes, 100u);
}

TEST_F(InterfaceCountersTest, InterfaceThatIsGone_KeepsItsLastValues) {
  for (std::size_t i = 0; i < files_.size(); ++i) Say(i, "0\n");
  const InterfaceCounters counters = Make();
  Say(0, "5\n");
  EXPECT_EQ(counters.Read().rx_packets, 5u);
  Say(0, "");
  EXPECT_EQ(counters.Read().rx_packets, 5u);
}

TEST(OpenInterfaceCounters, NoTap_IsRefused) { EXPECT_FALSE(OpenInterfaceCounters(STDIN_FILENO)); }

}  // namespace
}  // namespace gemel::net
