#include "pki/sha256.h"

#include <gtest/gtest.h>

#include <string>

namespace gemel::pki {
namespace {

// FIPS 180-4's examples, as NIST publishes them.
TEST(Sha256, Nothing_HasItsDigest) {
  EXPECT_EQ(Sha256().HexDigest(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, Pieces_AreOneText) {
  Sha256 sum;
  sum.Update("a");
  sum.Update("bc");
  EXPECT_EQ(sum.HexDigest(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace gemel::pki
