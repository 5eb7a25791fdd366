#include "virtio/net/vhost.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "virtio/net/config_space.h"

namespace gemel::virtio {
namespace {

std::vector<net::VhostRegion> Regions(const GuestMemory& memory) {
  std::vector<net::VhostRegion> regions;
  for (const GuestMemory::Region& region : memory.regions())
    // SAFETY: a pointer seen as a number.
    regions.push_back(
        {region.start.value, region.size, reinterpret_cast<std::uint64_t>(region.host)});
  return regions;
}

}  // namespace

std::uint64_t NetVhostNeeds() {
  return kNetFeatureMrgRxbuf | kFeatureIndirectDesc | kFeatureEventIdx | kFeatureVersion1;
}

Result<NetVhost::Ring> NetVhost::MakeRing(const ActiveQueue& queue) {
  ASSIGN_OR_RETURN(EventFd error, EventFd::Create());
  Ring ring{{}, std::move(error), std::nullopt};
  if (queue.interrupt->event_fd() < 0) {
    ASSIGN_OR_RETURN(ring.relay, EventFd::Create());
  }
  return ring;
}

net::VhostRing NetVhost::Describe(const ActiveQueue& queue, const Ring& ring) {
  const RingAddresses addresses = queue.queue->Rings();
  return {queue.queue->size(),   addresses.descriptors,
          addresses.driver_ring, addresses.device_ring,
          queue.kick->get(),     ring.relay ? ring.relay->get() : queue.interrupt->event_fd(),
          ring.error.get()};
}

Result<bool> NetVhost::Start(Worker* worker, Activation& activation, std::uint16_t pair) {
  std::vector<ActiveQueue>& queues = activation.queues;
  const auto receive = std::ranges::find(queues, 2 * pair, &ActiveQueue::index);
  const auto transmit = std::ranges::find(queues, 2 * pair + 1, &ActiveQueue::index);
  if (receive == queues.end() || transmit == queues.end()) return false;
  ASSIGN_OR_RETURN(Ring receive_ring, MakeRing(*receive));
  ASSIGN_OR_RETURN(Ring transmit_ring, MakeRing(*transmit));
  RETURN_IF_ERROR(kernel_->SetUp(activation.features & NetVhostNeeds(), Regions(*activation.memory),
                                 Describe(*receive, receive_ring),
                                 Describe(*transmit, transmit_ring)));
  receive_ring.queue = std::move(*receive);
  transmit_ring.queue = std::move(*transmit);
  std::erase_if(queues, [](const ActiveQueue& queue) { return queue.queue == nullptr; });
  worker_ = worker;
  rings_.emplace(Rings{std::move(receive_ring), std::move(transmit_ring)});
  // A thread without room for four more descriptors in its epoll cannot serve a guest at all.
  for (Ring* ring : {&rings_->receive, &rings_->transmit})
    if (const Status watched = Watch(*ring); !watched) activation.needs_reset();
  return true;
}

Status NetVhost::Watch(Ring& ring) {
  EventLoop& loop = worker_->loop();
  RETURN_IF_ERROR(
      loop.Watch(ring.error.get(), EPOLLIN, [this, &ring](std::uint32_t) { OnError(ring); }));
  if (!ring.relay) return {};
  return loop.Watch(ring.relay->get(), EPOLLIN, [&ring](std::uint32_t) {
    if (ring.relay->Drain()) ring.queue.interrupt->Trigger();
  });
}

void NetVhost::Unwatch(const Ring& ring) {
  worker_->loop().Unwatch(ring.error.get());
  if (ring.relay) worker_->loop().Unwatch(ring.relay->get());
}

void NetVhost::OnError(const Ring& ring) {
  if (!ring.error.Drain()) return;
  static_cast<void>(SetRunning(false));
  worker_->Break(ring.queue, QueueError::kByKernel);
}

Status NetVhost::SetRunning(bool running) {
  running = running && !worker_->broken();
  if (running == running_) return {};
  running_ = running;
  if (!running) {
    kernel_->Disconnect();
    return {};
  }
  if (Status connected = kernel_->Connect(tap_); !connected) {
    running_ = false;
    return connected;
  }
  // What was offered before is found now: the kernel looks when it is kicked.
  rings_->receive.queue.kick->Signal();
  rings_->transmit.queue.kick->Signal();
  return {};
}

void NetVhost::Stop() {
  if (!rings_) return;
  kernel_->TearDown();
  running_ = false;
  Unwatch(rings_->receive);
  Unwatch(rings_->transmit);
  rings_.reset();
  worker_ = nullptr;
}

}  // namespace gemel::virtio
