#include "vmm/pci/msix.h"

#include <gtest/gtest.h>

#include <array>

#include "base/load_le.h"
#include "tests/fakes/fake_msi.h"

namespace gemel::pci {
namespace {

using testing::FakeMsi;
using testing::FakeMsiAllocator;
using Message = FakeMsi::Message;

constexpr std::uint16_t kVectors = 10;
constexpr std::uint16_t kSources = 3;

class MsixTest : public ::testing::Test {
 protected:
  MsixTest() : msix_(Msix::Create("test", &allocator_, kVectors, kSources).value()) {}

  template <class T>
  void Write(std::uint64_t offset, std::type_identity_t<T> value) {
    std::array<std::byte, sizeof(T)> data;
    StoreLe<T>(std::span(data), 0, value);
    msix_->Write(offset, data);
  }
  template <class T>
  T Read(std::uint64_t offset) {
    std::array<std::byte, sizeof(T)> data;
    msix_->Read(offset, data);
    return LoadLe<T>(data);
  }
  // As a driver does: message first, then the mask.
  void SetUpVector(std::uint16_t vector, Message message) {
    const std::uint64_t entry = vector * 16u;
    Write<std::uint32_t>(entry, static_cast<std::uint32_t>(message.address));
    Write<std::uint32_t>(entry + 4, static_cast<std::uint32_t>(message.address >> 32));
    Write<std::uint32_t>(entry + 8, message.data);
    Unmask(vector);
  }
  void Mask(std::uint16_t vector) { Write<std::uint32_t>(vector * 16u + 12, 1); }
  void Unmask(std::uint16_t vector) { Write<std::uint32_t>(vector * 16u + 12, 0); }
  void Enable() { msix_->SetControl({.enabled = true, .masked = false, .may_write = true}); }
  std::uint64_t Pending() { return Read<std::uint64_t>(msix_->pending_offset()); }
  FakeMsi& Msi(std::size_t source) { return *allocator_.made[source]; }

  static constexpr Message kMessage{0xfee0'1000, 0x4041};
  static constexpr Message kOther{0xfee0'2000, 0x4042};

  FakeMsiAllocator allocator_;
  std::unique_ptr<Msix> msix_;
};

TEST_F(MsixTest, Create_NoMoreMsis_IsAnError) {
  FakeMsiAllocator allocator;
  allocator.left = 1;
  const auto msix = Msix::Create("blk0", &allocator, 2, 2);
  ASSERT_FALSE(msix.has_value());
  EXPECT_EQ(msix.error().message, "blk0: MSI-X: no more MSIs");
}

TEST_F(MsixTest, BarSize_FitsTableAndPendingBits) {
  EXPECT_EQ(msix_->bar_size(), 4096u);
  EXPECT_EQ(msix_->pending_offset(), 2048u);
  const auto large = Msix::Create("x", &allocator_, Msix::kMaxVectors, 1).value();
  EXPECT_EQ(large->pending_offset(), Msix::kMaxVectors * 16u);
  EXPECT_EQ(large->bar_size(), Msix::kMaxVectors * 32u);
}

// ---- the table ----------------------------------------------------------------------------------

TEST_F(MsixTest, Table_WhenNew_IsMasked) {
  EXPECT_EQ(Read<std::uint32_t>(0), 0u);
  EXPECT_EQ(Read<std::uint32_t>(9 * 16 + 12), 1u);
}

TEST_F(MsixTest, Table_ReservedBits_ReadZero) {
  Write<std::uint32_t>(0, 0xffff'ffff);
  Write<std::uint32_t>(12, 0xffff'ffff);
  EXPECT_EQ(Read<std::uint32_t>(0), 0xffff'fffcu);
  EXPECT_EQ(Read<std::uint32_t>(12), 1u);
}

TEST_F(MsixTest, Table_OneByteAndTwoByteAndUnaligned_Work) {
  Write<std::uint8_t>(9, 0xab);
  Write<std::uint16_t>(5, 0x1234);
  EXPECT_EQ(Read<std::uint32_t>(8), 0xab00u);
  EXPECT_EQ(Read<std::uint32_t>(4), 0x12'3400u);
  EXPECT_EQ(Read<std::uint16_t>(6), 0x12);
}

TEST_F(MsixTest, Table_EightBytes_SetDataAndMaskAtOnce) {
  Enable();
  msix_->Bind(0, 0);
  Write<std::uint64_t>(0, kMessage.address);
  Write<std::uint64_t>(8, kMessage.data);
  EXPECT_EQ(Msi(0).message(), kMessage);
}

TEST_F(MsixTest, Table_PastItsEnd_ReadsZeroAndTakesNothing) {
  Write<std::uint64_t>(kVectors * 16, ~0ull);
  EXPECT_EQ(Read<std::uint64_t>(kVectors * 16), 0u);
  Write<std::uint64_t>(kVectors * 16 - 4, ~0ull);
  EXPECT_EQ(Read<std::uint64_t>(kVectors * 16 - 4), 1u);
}

// ---- sending ------------------------------------------------------------------------------------

TEST_F(MsixTest, Trigger_Unmasked_SendsTheMessageOfItsVector) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  msix_->Trigger(1);
  EXPECT_EQ(Msi(1).sent, std::vector{kMessage});
  EXPECT_EQ(Pending(), 0u);
}

TEST_F(MsixTest, Trigger_TwoSourcesOfOneVector_SendBoth) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(0, 3);
  msix_->Bind(1, 3);
  msix_->Trigger(0);
  msix_->Trigger(1);
  EXPECT_EQ(Msi(0).sent.size() + Msi(1).sent.size(), 2u);
}

TEST_F(MsixTest, Trigger_WithoutAVector_IsForgotten) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Trigger(1);
  EXPECT_EQ(Pending(), 0u);
  msix_->Bind(1, 3);
  EXPECT_TRUE(Msi(1).sent.empty());
}

TEST_F(MsixTest, Signal_ByVhostWithoutAVector_IsForgotten) {
  Enable();
  SetUpVector(3, kMessage);
  Msi(1).Trigger();
  msix_->Bind(1, 3);
  EXPECT_TRUE(Msi(1).sent.empty());
}

TEST_F(MsixTest, Bind_VectorThatDoesNotExist_IsNone) {
  msix_->Bind(0, kVectors);
  EXPECT_EQ(msix_->vector(0), Msix::kNoVector);
}

TEST_F(MsixTest, Bind_ToNone_Withdraws) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  msix_->Bind(1, Msix::kNoVector);
  EXPECT_FALSE(Msi(1).message().has_value());
}

TEST_F(MsixTest, MessageChanged_WhileUnmasked_IsFollowed) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  Write<std::uint32_t>(3 * 16 + 8, kOther.data);
  msix_->Trigger(1);
  EXPECT_EQ(Msi(1).sent, (std::vector{Message{kMessage.address, kOther.data}}));
}

TEST_F(MsixTest, OtherVectorsChanged_IsNotToldAgain) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  const int before = Msi(1).set_messages;
  SetUpVector(4, kOther);
  Mask(2);
  EXPECT_EQ(Msi(1).set_messages, before);
}

// ---- masking and pending ------------------------------------------------------------------------

TEST_F(MsixTest, VectorMasked_TriggerIsPendingAndSentOnceWhenUnmasked) {
  Enable();
  SetUpVector(9, kMessage);
  msix_->Bind(1, 9);
  Mask(9);
  msix_->Trigger(1);
  msix_->Trigger(1);
  EXPECT_TRUE(Msi(1).sent.empty());
  EXPECT_EQ(Pending(), 1u << 9);
  Unmask(9);
  EXPECT_EQ(Msi(1).sent, std::vector{kMessage});
  EXPECT_EQ(Pending(), 0u);
}

TEST_F(MsixTest, VectorMasked_MessageChangedMeanwhile_IsTheOneSent) {
  Enable();
  SetUpVector(9, kMessage);
  msix_->Bind(1, 9);
  Mask(9);
  msix_->Trigger(1);
  SetUpVector(9, kOther);
  EXPECT_EQ(Msi(1).sent, std::vector{kOther});
}

TEST_F(MsixTest, FunctionMasked_TriggersArePending) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  msix_->SetControl({.enabled = true, .masked = true, .may_write = true});
  msix_->Trigger(1);
  EXPECT_EQ(Pending(), 1u << 3);
  Enable();
  EXPECT_EQ(Msi(1).sent, std::vector{kMessage});
}

TEST_F(MsixTest, FunctionUnmasked_VectorStillMasked_StaysPending) {
  msix_->SetControl({.enabled = true, .masked = true, .may_write = true});
  msix_->Bind(1, 3);
  msix_->Trigger(1);
  Enable();
  EXPECT_EQ(Pending(), 1u << 3);
  EXPECT_TRUE(Msi(1).sent.empty());
}

TEST_F(MsixTest, MayNotWrite_TriggersArePending) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  msix_->SetControl({.enabled = true, .masked = false, .may_write = false});
  msix_->Trigger(1);
  EXPECT_EQ(Pending(), 1u << 3);
  Enable();
  EXPECT_EQ(Msi(1).sent.size(), 1u);
}

TEST_F(MsixTest, Signal_ByVhostWhileMasked_IsPending) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  const int fd = msix_->event_fd(1);
  Mask(3);
  Msi(1).Trigger();
  EXPECT_EQ(Pending(), 1u << 3);
  EXPECT_EQ(msix_->event_fd(1), fd);
}

TEST_F(MsixTest, PendingBits_TakeNoWrites) {
  Enable();
  msix_->Bind(1, 3);
  msix_->Trigger(1);
  Write<std::uint64_t>(msix_->pending_offset(), 0);
  EXPECT_EQ(Pending(), 1u << 3);
}

TEST_F(MsixTest, PendingBits_AreReadByAnyWidth) {
  Enable();
  msix_->Bind(0, 9);
  msix_->Trigger(0);
  EXPECT_EQ(Read<std::uint8_t>(msix_->pending_offset() + 1), 2);
  EXPECT_EQ(Read<std::uint16_t>(msix_->pending_offset()), 0x200);
  EXPECT_EQ(Read<std::uint32_t>(msix_->pending_offset() + 4), 0u);
  EXPECT_EQ(Read<std::uint64_t>(4088), 0u);
}

TEST_F(MsixTest, Pending_SourceMovesToAnotherVector_GoesWithIt) {
  Enable();
  msix_->Bind(1, 3);
  msix_->Trigger(1);
  msix_->Bind(1, 4);
  EXPECT_EQ(Pending(), 1u << 4);
}

TEST_F(MsixTest, SetMessage_Refused_WaitsForTheNextChange) {
  Enable();
  msix_->Bind(1, 3);
  msix_->Trigger(1);
  Msi(1).refuse = true;
  SetUpVector(3, kMessage);
  EXPECT_EQ(Pending(), 1u << 3);
  Msi(1).refuse = false;
  Unmask(3);
  EXPECT_EQ(Msi(1).sent, std::vector{kMessage});
}

TEST_F(MsixTest, Reset_MasksAndForgets) {
  Enable();
  SetUpVector(3, kMessage);
  msix_->Bind(1, 3);
  msix_->Bind(2, 4);
  msix_->Trigger(2);
  msix_->Reset();
  EXPECT_EQ(Pending(), 0u);
  EXPECT_FALSE(Msi(1).message().has_value());
  EXPECT_EQ(Read<std::uint32_t>(3 * 16), 0u);
  EXPECT_EQ(Read<std::uint32_t>(3 * 16 + 12), 1u);
}

}  // namespace
}  // namespace gemel::pci
