#include "grpc/fencing.h"

#include <utility>

#include "base/log.h"

namespace gemel::daemon {
namespace {

using Step = FenceDuty::Step;

std::string_view NameOf(const FenceAgent& agent) {
  return std::string_view(agent.agent).substr(agent.agent.rfind('/') + 1);
}

std::string Describe(const FenceAgent& agent, Step step, const FenceOutcome& outcome) {
  const std::string_view action = step == Step::kAsk ? "status" : "off";
  if (!outcome.ended) return fmt::format("{} {}: {}", NameOf(agent), action, outcome.text);
  const std::string what =
      step == Step::kAsk ? fmt::format("says that it is {}", PowerWord(PowerOf(outcome.status)))
                         : fmt::format("ended with status {}", outcome.status);
  return fmt::format("{} {}: {}{}{}", NameOf(agent), action, what, outcome.text.empty() ? "" : ": ",
                     outcome.text);
}

}  // namespace

std::vector<std::string> Fencing::nodes() const {
  std::vector<std::string> names;
  for (const auto& [name, agent] : agents_) names.push_back(name);
  return names;
}

void Fencing::Need(const std::map<std::string, std::string>& lost) {
  std::erase_if(works_, [&](const auto& work) {
    const auto found = lost.find(work.first);
    return found == lost.end() || found->second != work.second.session;
  });
  for (const auto& [node, session] : lost) {
    if (!Has(node)) continue;
    if (!works_.contains(node)) works_[node] = {session, {}, "", ++last_number_};
    GoOn(node, works_.at(node));
  }
}

void Fencing::GoOn(const std::string& node, Work& work) {
  const Step step = work.duty.Next(now_());
  if (step == Step::kNothing) return;
  const FenceAgent& agent = agents_.at(node);
  LOG_UNLIMITED(kWarning, "cluster", "node {} is {} by {}", node,
                step == Step::kAsk ? "looked at" : "switched off", NameOf(agent));
  run_(agent, step == Step::kAsk ? "status" : "off",
       [this, alive = std::weak_ptr(alive_), node, number = work.number,
        step](const FenceOutcome& outcome) {
         if (!alive.expired()) OnOutcome(node, number, step, outcome);
       });
}

void Fencing::OnOutcome(const std::string& node, std::uint64_t number, Step step,
                        const FenceOutcome& outcome) {
  const auto found = works_.find(node);
  if (found == works_.end() || found->second.number != number) return;
  Work& work = found->second;
  const unsigned before = work.duty.failures();
  if (step == Step::kAsk)
    work.duty.OnAsked(now_(), outcome.ended ? PowerOf(outcome.status) : FencePower::kUnknown);
  else
    work.duty.OnSwitchedOff(now_(), outcome.ended && outcome.status == 0);
  if (work.duty.failures() == before) return GoOn(node, work);
  const std::string text = Describe(agents_.at(node), step, outcome);
  LOG(kError, "cluster", "node {}: {}", node, text);
  if (text != work.trouble) failures_.push_back({node, text});
  work.trouble = text;
}

std::vector<std::string> Fencing::proved() const {
  std::vector<std::string> names;
  for (const auto& [node, work] : works_)
    if (work.duty.proved()) names.push_back(node);
  return names;
}

std::string Fencing::trouble(const std::string& node) const {
  const auto found = works_.find(node);
  return found == works_.end() ? "" : found->second.trouble;
}

void Fencing::Ask(const std::string& node, const Done& done) const {
  const auto found = agents_.find(node);
  if (found == agents_.end()) return done({false, -1, "no fence agent is declared for it here"});
  run_(found->second, "status", done);
}

}  // namespace gemel::daemon
