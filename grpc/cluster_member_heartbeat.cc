// Processes of machines that answer no more (VmSampler), where the machine's owner wants them ended for that
// (on_heartbeat_loss): then it begins anew, as after any end of its process.
#include "base/log.h"
#include "grpc/cluster_member.h"

namespace gemel::daemon {
namespace {

// So many turns of this daemon must pass without the answer, so far apart: what has held up the
// daemon itself, and with it the answer, ends nobody.
constexpr int kSilentTurns = 5;
constexpr cluster::Time kBetweenTurns{400'000};

}  // namespace

void ClusterMember::NoteHeartbeat(Machine& machine, const VmEvent& event) {
  const auto* unreachable = std::get_if<VmUnreachable>(&event);
  if (unreachable != nullptr && unreachable->silent) {
    machine.silence = unreachable->reason;
    machine.silent_turns = 0;
  } else if (std::holds_alternative<VmAnswers>(event) || std::holds_alternative<VmEnded>(event)) {
    machine.silence.reset();
    machine.silent_turns = 0;
  }
}

bool ClusterMember::WasEndedForSilence(const Machine& machine) {
  return machine.silence && machine.silent_turns >= kSilentTurns;
}

// Not one that is paused, which serves nobody; nor one that has latched, or is about to since this node is no
// member now: what becomes of that is for the rules.
bool ClusterMember::MayEndForSilence(const Machine& machine) const {
  if (machine.spec.machine.spec().failover().on_heartbeat_loss() != v1::ON_HEARTBEAT_LOSS_RESTART)
    return false;
  const bool wanted = machine.taken && !machine.gone && !machine.ended && !IsPaused(machine.spec) &&
                      machine.wish.want == cluster::Want::kRun;
  const bool runs = machine.begun && machine.told && !machine.told->latched &&
                    machine.told->owner == self_.name &&
                    machine.told->record == cluster::VmState::kRunning;
  return wanted && runs && manager_.live();
}

void ClusterMember::EndTheSilent() {
  const cluster::Time now = outside_.now();
  for (auto& [vm, machine] : machines_) {
    if (!machine.silence || WasEndedForSilence(machine)) continue;
    if (now - machine.silent_turn < kBetweenTurns) continue;
    machine.silent_turn = now;
    machine.silent_turns = MayEndForSilence(machine) ? machine.silent_turns + 1 : 0;
    if (!WasEndedForSilence(machine)) continue;
    Decide(machine, "its process is ended: " + *machine.silence);
    LOG_UNLIMITED(kWarning, "cluster", "machine {}: {}: it is ended", vm, *machine.silence);
    fenced_.Kill(vm);
  }
}

}  // namespace gemel::daemon
