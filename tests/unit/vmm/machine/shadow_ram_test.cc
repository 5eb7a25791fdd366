#include "vmm/machine/shadow_ram.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_memory_slots.h"
#include "tests/fakes/test_memory.h"

namespace gemel {
namespace {

using Shown = testing::FakeMemorySlots::Shown;

constexpr std::uint64_t kStart = 0xc0000;
constexpr pci::PamRegisters kAllRam{0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33};

class ShadowRamTest : public ::testing::Test {
 protected:
  std::byte ReadAt(std::uint64_t offset) {
    std::byte byte{};
    shadow_.Read(offset, {&byte, 1});
    return byte;
  }
  std::byte InRam(std::uint64_t offset) {
    return *memory_->Read<std::byte>(GuestAddress{kStart + offset});
  }
  void SetAt(std::uint64_t offset, std::byte byte) { shadow_.Write(offset, {&byte, 1}); }

  std::unique_ptr<GuestMemory> memory_ = testing::MakeTestMemory();
  testing::FakeMemorySlots slots_;
  ShadowRam shadow_{memory_.get(), &slots_};
};

TEST_F(ShadowRamTest, AllRam_IsOneSlot) {
  shadow_.OnPam(kAllRam);
  shadow_.Follow();
  EXPECT_EQ(slots_.shown, (std::map<std::uint32_t, Shown>{{0, {kStart, 0x40000, false}}}));
}

TEST_F(ShadowRamTest, PutOff_ChangesNothingUntilFollow) {
  shadow_.OnPam(kAllRam);
  EXPECT_EQ(slots_.changes, 0);
  shadow_.Follow();
  shadow_.PutOff();
  shadow_.OnPam({});
  shadow_.OnPam(kAllRam);
  shadow_.Follow();
  EXPECT_EQ(slots_.changes, 1);
}

TEST_F(ShadowRamTest, PiecesUnlikeTheirNeighbours_AreSlotsOfTheirOwn) {
  shadow_.Follow();
  shadow_.OnPam({0x10, 0, 0, 0, 0, 0, 0x31});
  EXPECT_EQ(slots_.shown, (std::map<std::uint32_t, Shown>{{0, {0xe8000, 0x4000, true}},
                                                          {1, {0xec000, 0x4000, false}},
                                                          {2, {0xf0000, 0x10000, true}}}));
}

TEST_F(ShadowRamTest, AChange_LeavesOtherRunsAlone) {
  shadow_.Follow();
  shadow_.OnPam({0x30, 0x03, 0, 0, 0, 0, 0});
  const int before = slots_.changes;
  shadow_.OnPam({0x10, 0x03, 0, 0, 0, 0, 0});
  EXPECT_EQ(slots_.changes, before + 2);
  EXPECT_EQ(slots_.shown.size(), 2u);
}

TEST_F(ShadowRamTest, HiddenPiece_ReadsAsOnesAndKeepsItsBytes) {
  shadow_.Follow();
  SetAt(0x10, std::byte{7});
  EXPECT_EQ(ReadAt(0x10), std::byte{0xff});
  EXPECT_EQ(InRam(0x10), std::byte{0});
}

TEST_F(ShadowRamTest, WriteOnlyPiece_TakesWritesAndReadsAsOnes) {
  shadow_.Follow();
  shadow_.OnPam({0, 0x02, 0, 0, 0, 0, 0});
  SetAt(0x10, std::byte{7});
  EXPECT_EQ(ReadAt(0x10), std::byte{0xff});
  EXPECT_EQ(InRam(0x10), std::byte{7});
  EXPECT_TRUE(slots_.shown.empty());
}

TEST_F(ShadowRamTest, ReadOnlyPiece_DropsWrites) {
  shadow_.Follow();
  shadow_.OnPam({0, 0x01, 0, 0, 0, 0, 0});
  SetAt(0x10, std::byte{7});
  EXPECT_EQ(ReadAt(0x10), std::byte{0});
}

TEST_F(ShadowRamTest, SlotsThatAreRefused_AreAnsweredFromRam) {
  slots_.refuse = true;
  shadow_.Follow();
  shadow_.OnPam(kAllRam);
  SetAt(0x30010, std::byte{7});
  EXPECT_EQ(ReadAt(0x30010), std::byte{7});
}

TEST_F(ShadowRamTest, AccessOverTwoPieces_FollowsEach) {
  shadow_.Follow();
  shadow_.OnPam({0, 0x03, 0, 0, 0, 0, 0});
  std::array<std::byte, 8> bytes{};
  shadow_.Read(0x4000 - 4, bytes);
  EXPECT_EQ(bytes[3], std::byte{0});
  EXPECT_EQ(bytes[4], std::byte{0xff});
}

}  // namespace
}  // namespace gemel
