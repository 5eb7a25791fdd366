// Requests of random bytes, and good ones that were damaged, through the whole service layer.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "proto/gemel/v1/access.pb.h"
#include "proto/gemel/v1/disks.pb.h"
#include "proto/gemel/v1/networks.pb.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace gemel::daemon {
namespace {

constexpr int kInputs = 3000;
constexpr int kMethods = 39;

struct Seed {
  unsigned method;  // as in service_fuzz.cc
  std::string request;
};

std::vector<Seed> GoodRequests() {
  v1::CreateVirtualMachineRequest vm;
  vm.set_parent("projects/p");
  vm.set_vm_id("web");
  vm.mutable_virtual_machine()->mutable_spec()->mutable_boot()->set_kernel("/dev/null");
  vm.mutable_virtual_machine()->mutable_spec()->mutable_vsock();
  vm.mutable_virtual_machine()->mutable_spec()->add_nics();
  vm.mutable_virtual_machine()->set_desired_state(v1::DESIRED_STATE_RUNNING);
  vm.set_request_id("r");
  v1::ListVirtualMachinesRequest list;
  list.set_parent("projects/-");
  list.set_filter("status.state = RUNNING AND labels.a:*");
  v1::CreateDiskRequest disk;
  disk.set_parent("projects/p");
  disk.set_disk_id("root");
  disk.mutable_disk()->set_size_bytes(1 << 20);
  v1::CreateBindingRequest binding;
  binding.mutable_binding()->set_role(v1::ROLE_VIEWER);
  binding.mutable_binding()->set_member("user:bob");
  binding.mutable_binding()->set_resource("projects/p");
  v1::CreateNetworkRequest network;
  network.set_parent("projects/p");
  network.set_network_id("lan");
  network.mutable_network()->mutable_managed_bridge()->set_subnet("10.88.0.0/24");
  network.mutable_network()->mutable_managed_bridge()->set_dhcp(true);
  v1::StartVirtualMachineRequest name;
  name.set_name("projects/p/vms/web");
  const std::string named =
      name.SerializeAsString();  // Delete, Start, Stop, Pause and others alike
  return {{0, vm.SerializeAsString()},
          {2, list.SerializeAsString()},
          {12, disk.SerializeAsString()},
          {26, binding.SerializeAsString()},
          {33, network.SerializeAsString()},
          {1, named},
          {4, named},
          {5, named},
          {7, named},
          {8, named},
          {9, named},
          {10, named},
          {11, named}};
}

std::string Damaged(std::string bytes, std::mt19937& chance) {
  for (unsigned n = chance() % 4; n > 0 && !bytes.empty(); --n) {
    const std::size_t at = chance() % bytes.size();
    if (chance() % 3 == 0)
      bytes.erase(at, 1 + chance() % 4);
    else
      bytes[at] = static_cast<char>(chance());
  }
  return bytes;
}

std::string Noise(std::mt19937& chance) {
  std::string bytes(chance() % 64, '\0');
  for (char& byte : bytes) byte = static_cast<char>(chance());
  return bytes;
}

TEST(Service, RandomRequests_AreAllAnswered) {
  std::mt19937 chance(20261123);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
  const std::vector<Seed> good = GoodRequests();
  for (int i = 0; i < kInputs; ++i) {
    std::string input;
    for (unsigned calls = 1 + chance() % 8; calls > 0; --calls) {
      const Seed& seed = good[chance() % good.size()];
      const std::string request = chance() % 4 == 0 ? Noise(chance) : Damaged(seed.request, chance);
      input += static_cast<char>(chance() % 4 == 0 ? chance() % kMethods : seed.method);
      input += static_cast<char>(request.size() & 0xff);
      input += static_cast<char>(request.size() >> 8);
      input += request;
    }
    // SAFETY: bytes are looked at as such.
    EXPECT_EQ(
        LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size()),
        0);
  }
}

}  // namespace
}  // namespace gemel::daemon
