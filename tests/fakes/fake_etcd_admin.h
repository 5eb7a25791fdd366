// An etcd for member/: members, keys with revisions, and what a test breaks.
#pragma once
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "etcd/grpc_admin.h"

namespace gemel::etcd {

class FakeEtcdAdmin : public Admin {
 public:
  struct State {
    std::vector<MemberInfo> members;
    std::map<std::string, KeyValue> keys;
    std::int64_t revision = 1;
    std::uint64_t leader = 1;
    std::uint64_t next_id = 100;
    std::set<std::uint64_t> away;  // do not answer
    std::vector<AlarmInfo> alarms;
    std::optional<Error> add_fails;
    bool add_is_done_nevertheless = false;
    bool promotes = true;
  };
  explicit FakeEtcdAdmin(State* state) : state_(state) {}

  Result<std::vector<MemberInfo>> Members() override { return state_->members; }
  Result<MemberInfo> AddLearner(const std::string& peer_url) override {
    MemberInfo member{state_->next_id++, "", {peer_url}, {}, true};
    if (!state_->add_fails || state_->add_is_done_nevertheless) state_->members.push_back(member);
    if (state_->add_fails) return std::unexpected(*state_->add_fails);
    return member;
  }
  Status Promote(std::uint64_t id) override {
    if (!state_->promotes) return FailedPrecondition("behind");
    for (MemberInfo& member : state_->members)
      if (member.id == id) member.learner = false;
    return {};
  }
  Status Remove(std::uint64_t id) override {
    std::erase_if(state_->members, [id](const MemberInfo& member) { return member.id == id; });
    return {};
  }
  Result<std::vector<AlarmInfo>> Alarms() override { return state_->alarms; }
  Status Disarm(const AlarmInfo&) override {
    state_->alarms.clear();
    return {};
  }
  Result<KvSnapshot> Read(const KeyRange& range) override {
    KvSnapshot snapshot{state_->revision, {}};
    for (const auto& [key, value] : state_->keys)
      if (key >= range.first && key < range.end) snapshot.keys.push_back(value);
    return snapshot;
  }
  Result<KvTxnAnswer> Commit(const KvTxn& txn) override {
    for (const KvTxn::Compare& compare : txn.compares) {
      const auto found = state_->keys.find(compare.key);
      const std::int64_t changed = found == state_->keys.end() ? 0 : found->second.changed;
      if (changed != compare.changed) return KvTxnAnswer{false, state_->revision};
    }
    ++state_->revision;
    for (const KvTxn::Put& put : txn.puts)
      state_->keys[put.key] = {put.key, put.value, state_->revision};
    for (const std::string& key : txn.deletes) state_->keys.erase(key);
    return KvTxnAnswer{true, state_->revision};
  }
  Result<MemberStatus> StatusOf(const std::string& endpoint) override {
    for (const MemberInfo& member : state_->members) {
      if (member.client_urls.empty() || member.client_urls[0] != "https://" + endpoint) continue;
      if (state_->away.contains(member.id)) break;
      MemberStatus status;
      status.id = member.id;
      status.leader = state_->leader;
      status.learner = member.learner;
      return status;
    }
    return MakeError(Code::kUnavailable, endpoint + ": no answer");
  }
  Status MoveLeader(const std::string&, std::uint64_t to) override {
    state_->leader = to;
    return {};
  }
  Status Defragment(const std::string&) override { return {}; }

 private:
  State* state_;
};

}  // namespace gemel::etcd
