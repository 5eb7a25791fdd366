#include "cli/client/api_name.h"

#include <gtest/gtest.h>

namespace gemel::cli {
namespace {

TEST(ApiNameTest, ShortForms_AreCompleted) {
  EXPECT_EQ(FullName("default", "vms", "web").value(), "projects/default/vms/web");
  EXPECT_EQ(FullName("default", "vms", "shop/web").value(), "projects/shop/vms/web");
  EXPECT_EQ(FullName("default", "vms", "projects/shop/vms/web").value(), "projects/shop/vms/web");
}

TEST(ApiNameTest, OtherForms_AreRefusedByName) {
  for (const char* name : {"", "/", "a/", "/a", "a/b/c", "projects/a/disks/b", "projects//vms/b"})
    EXPECT_EQ(FullName("default", "vms", name).error().code, Code::kInvalidArgument) << name;
}

TEST(ApiNameTest, ShortName_SaysTheProjectOnlyOfOthers) {
  EXPECT_EQ(ShortName("default", "projects/default/vms/web"), "web");
  EXPECT_EQ(ShortName("default", "projects/shop/vms/web"), "shop/web");
  EXPECT_EQ(ShortName("default", "nodes/a"), "nodes/a");
  EXPECT_EQ(LastPart("nodes/a"), "a");
  EXPECT_EQ(LastPart("a"), "a");
}

}  // namespace
}  // namespace gemel::cli
