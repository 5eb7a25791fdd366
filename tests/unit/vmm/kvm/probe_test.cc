#include "vmm/kvm/probe.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/file_util.h"
#include "tests/unit/vmm/kvm/test_machine.h"

namespace gemel::kvm {
namespace {

TEST(Probe, NotKvm_IsAnError) {
  const auto null = OpenFile("/dev/null", O_RDWR);
  ASSERT_TRUE(null.has_value());
  EXPECT_FALSE(ProbeKvm(null->get()).has_value());
}

TEST(Probe, ThisHost_SaysWhatIsMissingExactlyWhenItIsNotFit) {
  SKIP_WITHOUT_KVM();
  const auto kvm = OpenFile("/dev/kvm", O_RDWR);
  ASSERT_TRUE(kvm.has_value());
  const auto probe = ProbeKvm(kvm->get());
  ASSERT_TRUE(probe.has_value()) << probe.error().message;
  EXPECT_EQ(probe->api_version, 12);
  EXPECT_GE(probe->physical_address_bits, 36u);
  EXPECT_EQ(probe->guests.size(), 3u);
  EXPECT_EQ(probe->runs_unmodified_os, probe->missing.empty());
  EXPECT_EQ(probe->runs_unmodified_os, std::ranges::all_of(probe->guests, &ProbeGuest::works));
  for (const ProbeGuest& guest : probe->guests) {
    EXPECT_EQ(guest.works, guest.detail.empty()) << guest.name;
    RecordProperty(guest.name, guest.works ? "works" : guest.detail);
    if (!guest.works) printf("%s: %s\n", guest.name.c_str(), guest.detail.c_str());
  }
}

}  // namespace
}  // namespace gemel::kvm
