#include "vmm/config/sandbox_mode.h"

#include <gtest/gtest.h>

namespace gemel {
namespace {

TEST(SandboxMode, EachWord_ParsesToItsMode) {
  EXPECT_EQ(ParseSandboxMode("required").value(), SandboxMode::kRequired);
  EXPECT_EQ(ParseSandboxMode("default").value(), SandboxMode::kDefault);
  EXPECT_EQ(ParseSandboxMode("off").value(), SandboxMode::kOff);
  EXPECT_EQ(SandboxModeWord(SandboxMode::kRequired), "required");
}

TEST(SandboxMode, AnotherWord_SaysWhatThereIs) {
  EXPECT_EQ(ParseSandboxMode("on").error().message,
            "sandbox: on: unknown; there is required, default, off");
}

TEST(SandboxMode, Layers_AreListedByState) {
  const std::vector<SandboxLayer> layers = {
      {"pid namespace", true, ""}, {"own user", false, "needs root"}, {"Landlock", true, "ABI 7"}};
  EXPECT_EQ(ActiveLayers(layers), "pid namespace, Landlock (ABI 7)");
  EXPECT_EQ(MissingLayers(layers), "own user (needs root)");
}

}  // namespace
}  // namespace gemel
