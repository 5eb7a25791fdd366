// Machines whose disk refuses nobody: who has to be proved off before such a one is taken over, and a
// person's word that a node is.
#include <algorithm>
#include <utility>

#include "etcd/override.h"
#include "grpc/cluster_member.h"
#include "grpc/cluster_policy.h"
#include "grpc/resource_name.h"

namespace gemel::daemon {
namespace {

using cluster::NodeId;
using cluster::OffBy;
using cluster::SessionRecord;
using cluster::SessionState;

constexpr std::size_t kMostReasonBytes = 500;
constexpr std::string_view kNodeLives = "NODE_LIVES";

std::string SessionText(const SessionRecord& record) {
  return fmt::format("{}.{}", record.id.incarnation, record.id.number);
}

ApiResult<void> CheckWord(const ClusterMember::DeadNode& word) {
  if (word.session.empty())
    return std::unexpected(
        InvalidField("session", "missing: which one was lost (gemel cluster status shows it)"));
  if (word.reason.empty() || word.reason.size() > kMostReasonBytes)
    return std::unexpected(
        InvalidField("reason", fmt::format("{} bytes: say in 1 to {} how you know that it is off",
                                           word.reason.size(), kMostReasonBytes)));
  return {};
}

}  // namespace

std::string_view OffWord(OffBy off) {
  switch (off) {
    case OffBy::kNobody:
      return "";
    case OffBy::kPerson:
      return "person";
    case OffBy::kAgent:
      return "agent";
  }
  return "unknown";
}

NodeId ClusterMember::WaitsForProofOf(const ClusterManager::MachineStatus& status,
                                      const ClusterSeen& seen) {
  const auto session = seen.sessions.find(status.waits_for);
  const bool over = session != seen.sessions.end() && session->second.state != SessionState::kOpen;
  return over ? status.waits_for : 0;
}

ApiResult<SessionRecord> ClusterMember::LostSession(const DeadNode& word) const {
  const NodeId node =
      word.name.starts_with("nodes/") ? NumberOf(std::string(LastPart(word.name))) : 0;
  if (node == 0) return std::unexpected(ResourceNotFound("node", word.name));
  if (node == node_)
    return std::unexpected(WrongState(
        word.name, fmt::format("{} answers this call: it is not off", word.name), kNodeLives));
  const ClusterSeen seen = Seen();
  const auto found = seen.sessions.find(node);
  const SessionRecord record = found == seen.sessions.end() ? SessionRecord{} : found->second;
  if (record.state == SessionState::kOpen && record.id.number != 0)
    return std::unexpected(WrongState(
        word.name,
        fmt::format("{} has a session that lives ({}): it is not off. To move its machines: gemel "
                    "node drain {}. To be rid of it: switch it off, and say so once it is gone",
                    word.name, SessionText(record), LastPart(word.name)),
        kNodeLives));
  if (SessionText(record) != word.session)
    return std::unexpected(MakeApiError(
        Code::kAborted, "CHANGED_MEANWHILE",
        fmt::format("session: {}: the last one of {} is {}: it was back since, look again",
                    word.session, word.name, SessionText(record))));
  return record;
}

void ClusterMember::ConfirmDead(const DeadNode& word, const DrainReply& reply) {
  if (auto good = CheckWord(word); !good) return reply(std::unexpected(good.error()));
  if (const Status may = MayChange(); !may)
    return reply(std::unexpected(FromError(may.error(), "NO_MAJORITY")));
  if (const Status known = KnowsLevel(kOffProofsLevel, "proofs that a node is off"); !known)
    return reply(std::unexpected(FromError(known.error(), "UPGRADE_FIRST")));
  if (const auto lost = LostSession(word); !lost) return reply(std::unexpected(lost.error()));
  const std::string text =
      fmt::format("{} says that {} is off (session {}): {}", Printable(word.caller), word.name,
                  word.session, Printable(word.reason));
  SayOff(NumberOf(std::string(LastPart(word.name))), OffBy::kPerson, text,
         [this, name = word.name, reply](const Status& said) {
           const NodeId node = NumberOf(std::string(LastPart(name)));
           if (!said && said.error().code != Code::kAlreadyExists)
             return reply(std::unexpected(FromError(
                 said.error(),
                 said.error().code == Code::kAborted ? "CHANGED_MEANWHILE" : reason::kWrongState)));
           reply(NodeMessage(node, Seen()));
         });
}

// With the record of who said so, or not at all.
void ClusterMember::SayOff(NodeId node, OffBy by, const std::string& text, const Done& done) {
  const auto proposal = manager_.ProposeOff(node, by);
  if (!proposal) return done(std::unexpected(proposal.error()));
  const std::int64_t now = outside_.clock->RealtimeNow();
  etcd::KvTxn txn = etcd::EncodeTxn(proposal->txn);
  if (by == OffBy::kPerson)
    txn.puts.push_back(etcd::OverridePut({now / 1'000'000'000, text}, NameOf(node)));
  outside_.kv->Commit(std::move(txn), [this, alive = std::weak_ptr(alive_), node, by, text, done,
                                       now, call = proposal->call](
                                          const Result<etcd::KvTxnAnswer>& answer) {
    using cluster::TxnResult;
    if (alive.expired()) return;
    cluster::TxnReply reply;
    if (answer)
      reply = {answer->succeeded ? TxnResult::kSucceeded : TxnResult::kRefused, {answer->revision}};
    manager_.OnSaidOff(node, call, reply);
    if (!answer)
      return done(MakeError(Code::kUnavailable,
                            "etcd did not answer: it may have been recorded, or may be yet"));
    if (!answer->succeeded)
      return done(MakeError(Code::kAborted, "it was back at the same moment: look again"));
    for (auto& [vm, machine] : machines_)
      if (RefusesNobody(machine.spec.machine.spec())) Decide(machine, text);
    events_.Tell(v1::EVENT_TYPE_NODE_OFF, "nodes/" + NameOf(node), "", "",
                 by == OffBy::kPerson ? "CONFIRMED_DEAD" : "FENCE_AGENT", text, now);
    done({});
  });
}

void ClusterMember::SeeToFences() {
  if (outside_.fencing == nullptr) return;
  const ClusterSeen seen = Seen();
  std::map<std::string, std::string> lost;
  for (const ClusterManager::MachineStatus& status : manager_.machines()) {
    const auto found = machines_.find(status.vm);
    if (!manager_.live() || found == machines_.end() || found->second.gone) continue;
    if (found->second.wish.want != cluster::Want::kRun) continue;
    if (const NodeId node = WaitsForProofOf(status, seen); node != 0)
      lost[NameOf(node)] = SessionText(seen.sessions.at(node));
  }
  outside_.fencing->Need(lost);
  for (const Fencing::Failure& failure : outside_.fencing->TakeFailures())
    events_.Tell(v1::EVENT_TYPE_FENCE_FAILED, "nodes/" + failure.node, "", "", "FENCE_AGENT_FAILED",
                 failure.text, outside_.clock->RealtimeNow());
  for (const std::string& node : outside_.fencing->proved()) {
    if (std::exchange(saying_off_, true)) return;
    SayOff(NumberOf(node), OffBy::kAgent,
           fmt::format("the fence agent of {} has switched it off, and seen it off (session {})",
                       self_.name, lost.at(node)),
           [this](const Status&) { saying_off_ = false; });  // until a view shows it
  }
}

bool ClusterMember::CanFence(const std::string& node, NodeId from) const {
  const auto found = specs_.nodes().find(from);
  return found != specs_.nodes().end() && found->second.unreadable.empty() &&
         std::ranges::find(found->second.value.can_fence, node) !=
             found->second.value.can_fence.end();
}

// By an agent only if each of the others has one for it.
std::string_view ClusterMember::FenceOf(const Machine& machine, NodeId owner) const {
  const std::string name = owner != 0 ? NameOf(owner) : machine.last_owner;
  bool any = false;
  for (const auto& [node, entry] : specs_.nodes()) {
    if (entry.value.name == name) continue;
    if (!CanFence(name, node)) return kOffByPerson;
    any = true;
  }
  return any ? kOffByAgent : kOffByPerson;
}

std::string ClusterMember::WhyNotProved(NodeId node) const {
  const std::string name = NameOf(node);
  std::string text = fmt::format("node {} is lost, and its disk refuses nobody: ", name);
  if (outside_.fencing == nullptr || !outside_.fencing->Has(name)) {
    text += fmt::format("nobody has proved that {} is off", name);
  } else if (const std::string trouble = outside_.fencing->trouble(name); trouble.empty()) {
    return text + fmt::format("a fence agent switches {} off", name);
  } else {
    text += trouble;
  }
  return text + fmt::format(". See to it, then: gemel cluster confirm-dead {}", name);
}

void ClusterMember::TestFence(const std::string& name, const FenceReply& reply) const {
  const std::string node(LastPart(name));
  if (!name.starts_with("nodes/") || NumberOf(node) == 0)
    return reply(std::unexpected(ResourceNotFound("node", name)));
  if (outside_.fencing == nullptr || !outside_.fencing->Has(node))
    return reply(std::unexpected(WrongState(
        name,
        fmt::format(
            "{} has no fence agent for {}: declare fence_agents.{} in gemeld's configuration",
            self_.name, node, node),
        "NO_FENCE_AGENT")));
  const cluster::Time begin = outside_.now();
  outside_.fencing->Ask(
      node, [this, alive = std::weak_ptr(alive_), begin, reply](const FenceOutcome& outcome) {
        if (alive.expired()) return;
        v1::FenceTest test;
        test.set_node("nodes/" + self_.name);
        test.set_power(
            std::string(PowerWord(outcome.ended ? PowerOf(outcome.status) : FencePower::kUnknown)));
        test.set_message(outcome.text);
        const std::int64_t took = (outside_.now() - begin).us;
        test.mutable_took()->set_seconds(took / 1'000'000);
        test.mutable_took()->set_nanos(static_cast<std::int32_t>(took % 1'000'000 * 1000));
        reply(std::move(test));
      });
}

// Why a machine that was taken over cannot be written to by who had it.
std::pair<std::string_view, std::string> ClusterMember::WhyFenced(const Machine& machine,
                                                                  const std::string& from) const {
  const std::string who = from.empty() ? "who had it before" : "node " + from;
  const ClusterSeen seen = Seen();
  const auto session = seen.sessions.find(NumberOf(from));
  const OffBy off = session == seen.sessions.end() ? OffBy::kNobody : session->second.off;
  if (!RefusesNobody(machine.spec.machine.spec()) || off == OffBy::kNobody)
    return {"NODE_LOST", fmt::format("{} cannot write any more", who)};
  if (off == OffBy::kPerson)
    return {"CONFIRMED_DEAD", fmt::format("{} is off: a person has said so", who)};
  return {"FENCE_AGENT", fmt::format("{} is off: a fence agent has seen to it", who)};
}

}  // namespace gemel::daemon
