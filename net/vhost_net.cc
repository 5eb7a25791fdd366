#include "net/vhost_net.h"

// Its inline functions are C.
#define VIRTIO_RING_NO_LEGACY
#include <linux/vhost.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"

namespace gemel::net {
namespace {

// vhost-net's numbers of its two rings.
constexpr unsigned kReceive = 0;
constexpr unsigned kTransmit = 1;

class KernelVhostNet final : public VhostNet {
 public:
  KernelVhostNet(UniqueFd fd, std::uint64_t features) : fd_(std::move(fd)), features_(features) {}
  ~KernelVhostNet() override { TearDown(); }

  std::uint64_t features() const override { return features_; }
  Status SetUp(std::uint64_t features, std::span<const VhostRegion> memory,
               const VhostRing& receive, const VhostRing& transmit) override;
  Status Connect(int tap) override;
  void Disconnect() override;
  void TearDown() override;

 private:
  template <class T>
  Status Tell(unsigned long request, T* argument, std::string_view what) const {
    if (ioctl(fd_.get(), request, argument) == 0) return {};
    return ErrnoError(errno, fmt::format("vhost-net: {}", what));
  }
  Status SetMemory(std::span<const VhostRegion> memory) const;
  Status SetRing(unsigned index, const VhostRing& ring) const;
  void DropEvents(unsigned index) const;

  const UniqueFd fd_;
  const std::uint64_t features_;
  bool connected_ = false;
};

Status KernelVhostNet::SetUp(std::uint64_t features, std::span<const VhostRegion> memory,
                             const VhostRing& receive, const VhostRing& transmit) {
  const auto all = [&]() -> Status {
    RETURN_IF_ERROR(Tell(VHOST_SET_FEATURES, &features, "features"));
    RETURN_IF_ERROR(SetMemory(memory));
    RETURN_IF_ERROR(SetRing(kReceive, receive));
    return SetRing(kTransmit, transmit);
  };
  Status done = all();
  if (!done) TearDown();
  return done;
}

// struct vhost_memory ends in an array of regions.
Status KernelVhostNet::SetMemory(std::span<const VhostRegion> memory) const {
  std::vector<std::byte> bytes(sizeof(vhost_memory) + memory.size() * sizeof(vhost_memory_region));
  // SAFETY: zeroed bytes that operator new has aligned, of which the header is the first.
  auto* table = reinterpret_cast<vhost_memory*>(bytes.data());
  table->nregions = static_cast<std::uint32_t>(memory.size());
  for (std::size_t i = 0; i < memory.size(); ++i) {
    vhost_memory_region region{};
    region.guest_phys_addr = memory[i].guest;
    region.memory_size = memory[i].size;
    region.userspace_addr = memory[i].host;
    // SAFETY: within `bytes`, behind the header.
    new (bytes.data() + sizeof(vhost_memory) + i * sizeof region) vhost_memory_region(region);
  }
  return Tell(VHOST_SET_MEM_TABLE, table, "memory");
}

Status KernelVhostNet::SetRing(unsigned index, const VhostRing& ring) const {
  vhost_vring_state size{index, ring.size};
  vhost_vring_state first{index, 0};  // a queue's life begins with its activation
  vhost_vring_addr addresses{};
  addresses.index = index;
  addresses.desc_user_addr = ring.descriptors;
  addresses.avail_user_addr = ring.driver_ring;
  addresses.used_user_addr = ring.device_ring;
  vhost_vring_file kick{index, ring.kick};
  vhost_vring_file call{index, ring.call};
  vhost_vring_file error{index, ring.error};
  RETURN_IF_ERROR(Tell(VHOST_SET_VRING_NUM, &size, "ring size"));
  RETURN_IF_ERROR(Tell(VHOST_SET_VRING_BASE, &first, "ring index"));
  RETURN_IF_ERROR(Tell(VHOST_SET_VRING_ADDR, &addresses, "ring addresses"));
  RETURN_IF_ERROR(Tell(VHOST_SET_VRING_CALL, &call, "call event"));
  RETURN_IF_ERROR(Tell(VHOST_SET_VRING_ERR, &error, "error event"));
  return Tell(VHOST_SET_VRING_KICK, &kick, "kick event");
}

Status KernelVhostNet::Connect(int tap) {
  connected_ = true;  // perhaps half of it; Disconnect takes both off
  for (const unsigned index : {kReceive, kTransmit}) {
    vhost_vring_file backend{index, tap};
    if (Status set = Tell(VHOST_NET_SET_BACKEND, &backend, "tap"); !set) {
      Disconnect();
      return set;
    }
  }
  return {};
}

// Taking a backend off waits for what is in flight, zero-copy frames too (vhost_net_set_backend).
void KernelVhostNet::Disconnect() {
  if (!std::exchange(connected_, false)) return;
  for (const unsigned index : {kReceive, kTransmit}) {
    vhost_vring_file none{index, VHOST_FILE_UNBIND};
    CHECK(ioctl(fd_.get(), VHOST_NET_SET_BACKEND, &none) == 0);
  }
}

void KernelVhostNet::TearDown() {
  Disconnect();
  DropEvents(kReceive);
  DropEvents(kTransmit);
}

// An eventfd that was not set is none already.
void KernelVhostNet::DropEvents(unsigned index) const {
  vhost_vring_file none{index, VHOST_FILE_UNBIND};
  for (const unsigned long request :
       {VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR})
    static_cast<void>(ioctl(fd_.get(), request, &none));
}

}  // namespace

Result<std::unique_ptr<VhostNet>> AdoptVhostNet(UniqueFd fd) {
  std::uint64_t features = 0;
  if (ioctl(fd.get(), VHOST_SET_OWNER, nullptr) != 0)
    return ErrnoError(errno, "vhost-net: VHOST_SET_OWNER");
  if (ioctl(fd.get(), VHOST_GET_FEATURES, &features) != 0)
    return ErrnoError(errno, "vhost-net: VHOST_GET_FEATURES");
  return std::make_unique<KernelVhostNet>(std::move(fd), features);
}

}  // namespace gemel::net
