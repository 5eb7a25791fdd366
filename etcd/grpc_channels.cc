#include "etcd/grpc_channels.h"

#include "base/clock.h"

namespace gemel::etcd {
namespace {

// Longer than gRPC tries (grpc_io.cc): after that the member is not far but away.
constexpr std::int64_t kConnectMs = 2'000;

}  // namespace

GrpcChannels::GrpcChannels(GrpcIo* io) : io_(io), slots_(io->members()), ring_(io->members()) {}

void GrpcChannels::Reset() {
  slots_.assign(io_->members(), {});
  ring_ = EndpointRing(io_->members());
}

void GrpcChannels::Make(std::size_t member) {
  slots_[member] = {io_->NewChannel(member), MonotonicMs()};
  slots_[member].channel->GetState(/*try_to_connect=*/true);
}

GrpcChannels::Way GrpcChannels::Choose() {
  const std::size_t member = ring_.current();
  Slot& slot = slots_[member];
  if (!slot.channel) Make(member);
  return {member, slot.channel, slot.channel->GetState(true) == GRPC_CHANNEL_READY};
}

void GrpcChannels::OnFailure(const Way& way) {
  // After a Reset another may be in its place, or none.
  if (way.member >= slots_.size() || slots_[way.member].channel != way.channel) return;
  ring_.OnFailure(way.member);
  Slot& slot = slots_[way.member];
  const grpc_connectivity_state state = slot.channel->GetState(false);
  const bool failed = state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN;
  const bool young = MonotonicMs() - slot.made_ms < kConnectMs;
  if (way.ready || failed || !young) slot = {};
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (!slots_[i].channel) Make(i);
}

}  // namespace gemel::etcd
