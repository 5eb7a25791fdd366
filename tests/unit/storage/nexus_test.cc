#include "storage/nexus.h"

#include <gtest/gtest.h>

#include "block/iscsi/shared_claim.h"

namespace gemel::storage {
namespace {

constexpr std::string_view kBase = "iqn.2026-11.org.example:gemel";

block::IscsiNexus NexusOf(std::string_view base, const cluster::StorageKey& owner, std::uint32_t vm,
                          std::uint32_t disk) {
  return block::NexusOfDisk(NexusStem(base, owner, vm), disk);
}

TEST(NexusTest, SameEpoch_IsTheSameNexus) {
  const cluster::StorageKey owner{1, {2, 3}};

  EXPECT_EQ(NexusOf(kBase, owner, 4, 0), NexusOf(kBase, owner, 4, 0));
  EXPECT_EQ(NexusOf(kBase, owner, 4, 0).initiator, "iqn.2026-11.org.example:gemel:n1.m4.e2-3.d0");
}

TEST(NexusTest, AnotherNodeMachineDiskOrEpoch_IsAnotherName) {
  const auto name = [](const cluster::StorageKey& owner, std::uint32_t vm, std::uint32_t disk) {
    return NexusOf(kBase, owner, vm, disk).initiator;
  };
  const std::string one = name({1, {2, 3}}, 4, 0);

  EXPECT_NE(name({2, {2, 3}}, 4, 0), one);
  EXPECT_NE(name({1, {3, 3}}, 4, 0), one);
  EXPECT_NE(name({1, {2, 4}}, 4, 0), one);
  EXPECT_NE(name({1, {2, 3}}, 5, 0), one);
  EXPECT_NE(name({1, {2, 3}}, 4, 1), one);
}

}  // namespace
}  // namespace gemel::storage
