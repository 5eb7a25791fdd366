#include "block/device_discard.h"

#include <gtest/gtest.h>

#include "tests/unit/block/scratch_file.h"

namespace gemel::block {
namespace {

// What a device says is tested with a real one, tests/os/test_disk.py.
TEST(DeviceDiscardTest, RegularFile_HasNone) {
  EXPECT_EQ(DeviceDiscard(ScratchFile(".", 4096).get()), 0u);
}

TEST(DeviceDiscardTest, CharacterDevice_HasNone) {
  const UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(DeviceDiscard(null.get()), 0u);
}

}  // namespace
}  // namespace gemel::block
