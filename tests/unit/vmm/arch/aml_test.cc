#include "vmm/arch/x86/acpi/aml.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

using aml::Bytes;

TEST(AmlTest, Integers_HaveTheShortestEncoding) {
  EXPECT_EQ(aml::Integer(0), (Bytes{0x00}));
  EXPECT_EQ(aml::Integer(1), (Bytes{0x01}));
  EXPECT_EQ(aml::Integer(2), (Bytes{0x0a, 2}));
  EXPECT_EQ(aml::Integer(0x100), (Bytes{0x0b, 0x00, 0x01}));
  EXPECT_EQ(aml::Integer(0x10000), (Bytes{0x0c, 0, 0, 1, 0}));
  EXPECT_EQ(aml::Integer(1ull << 32), (Bytes{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

// ACPI 6.4, 19.3.4: EISAID("PNP0501") is 0x0105D041.
TEST(AmlTest, EisaId_IsCompressed) {
  EXPECT_EQ(aml::EisaId("PNP0501"), (Bytes{0x0c, 0x41, 0xd0, 0x05, 0x01}));
}

TEST(AmlTest, Names_HaveTheirPrefixes) {
  EXPECT_EQ(aml::Name("\\_S5_", aml::Integer(0)), (Bytes{0x08, '\\', '_', 'S', '5', '_', 0}));
  EXPECT_EQ(aml::Name("_SB_.COM1", aml::Integer(0)),
            (Bytes{0x08, 0x2e, '_', 'S', 'B', '_', 'C', 'O', 'M', '1', 0}));
}

// 20.2.4: 63 is the longest in one byte, itself included; 4095 in two.
TEST(AmlTest, PackageLength_GrowsWhereItMust) {
  const auto scope_of = [](std::size_t content) { return aml::Scope("ABCD", Bytes(content)); };
  EXPECT_EQ(scope_of(63 - 1 - 4)[1], 63);
  EXPECT_EQ(scope_of(63 - 4)[1], 0x40 | (65 & 0xf));
  EXPECT_EQ(scope_of(63 - 4)[2], 65 >> 4);
  EXPECT_EQ(scope_of(4095 - 2 - 4)[1], 0x4f);
  EXPECT_EQ(scope_of(4095 - 2 - 4)[2], 0xff);
  EXPECT_EQ(scope_of(4095 - 1 - 4)[1] & 0xc0, 0x80);
}

TEST(AmlTest, ResourceTemplate_HasItsSizeAndEndTag) {
  EXPECT_EQ(aml::ResourceTemplate(aml::IrqNoFlags(4)),
            (Bytes{0x11, 8, 0x0a, 5, 0x22, 0x10, 0x00, 0x79, 0x00}));
}

// 19.6.142's example of the order: aabbccdd-eeff-gghh-iijj-kkllmmnnoopp.
TEST(AmlTest, Uuid_HasItsFirstFieldsReversed) {
  EXPECT_EQ(aml::UuidBuffer("00112233-4455-6677-8899-AABBCCDDEEFF"),
            (Bytes{0x11, 0x13, 0x0a, 16,   0x33, 0x22, 0x11, 0x00, 0x55, 0x44,
                   0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}));
}

TEST(AmlTest, IoWindow_HasItsLengthAndLimits) {
  EXPECT_EQ(aml::IoWindow(0x1000, 0x100),
            (Bytes{0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0x00, 0x10, 0xff, 0x10, 0, 0, 0x00, 0x01}));
}

}  // namespace
}  // namespace gemel
