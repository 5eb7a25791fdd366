#include "keeper/keeper.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace gemel::keeper {
namespace {

using cluster::Memory;
using cluster::SessionId;
using cluster::Time;

// How often the highest revision goes to the disk, and how often a keeper that waits looks anew.
constexpr Time kSaveEvery{5'000'000};
constexpr Time kLookEvery{500'000};

Memory MemoryOf(const MemoryState& state, Time now) {
  return Memory({state.incarnation, state.incarnation_revision, now}, state.highest, state.alarmed);
}

}  // namespace

Keeper::Keeper(cluster::NodeId node, const MemoryState& remembered, Outside outside)
    : node_(node),
      rules_(outside.rules),
      outside_(std::move(outside)),
      memory_(MemoryOf(remembered, outside_.now())),
      session_(node),
      saved_(remembered),
      durable_incarnation_(remembered.incarnation) {}

void Keeper::Begin() {
  outside_.store->Watch([this](const etcd::View& view, const etcd::ViewChange&) { OnView(view); });
  Run();
}

void Keeper::Run() {
  const Time now = outside_.now();
  const std::optional<cluster::Txn> txn = session_.Run(now, quiet(), memory_, rules_);
  Publish();
  if (txn) {
    outside_.store->Commit(*txn, [this, id = session_.call().id](const cluster::TxnReply& reply) {
      OnReply(id, reply);
    });
  }
  Remember();
  Tell();
  const Time next = session_.next_run(rules_);
  const Time look = now + kLookEvery;
  outside_.wake_at(next > now ? std::min(next, look) : look);
}

void Keeper::OnReply(cluster::RequestId id, const cluster::TxnReply& reply) {
  session_.OnReply(outside_.now(), id, reply, memory_, rules_);
  Publish();
  Run();
}

void Keeper::OnStatement(const Statement& statement) {
  if (const auto* quiet = std::get_if<Quiet>(&statement)) OnQuiet(quiet->up_to);
  if (const auto* drained = std::get_if<Drained>(&statement)) {
    // What was promised of a session that lives held for a drained node alone.
    if (drained_ && !drained->drained) quiet_up_to_.reset();
    drained_ = drained->drained;
    session_.set_drained(drained_);
  }
  Run();
}

void Keeper::OnQuiet(SessionId up_to) {
  const bool lives = session_.view(outside_.now()).live && up_to >= live_;
  if (lives && !drained_) {
    LOG(kWarning, "keeper", "session {}.{} lives: its machines may start, whatever was said",
        live_.incarnation, live_.number);
    return;
  }
  quiet_up_to_ = std::max(quiet_up_to_.value_or(SessionId{}), up_to);
}

void Keeper::OnView(const etcd::View& view) {
  const etcd::Entry<std::uint64_t>& incarnation = view.incarnation();
  seen_ = true;
  // A store that belongs to no cluster yet; were it one that we knew, that would be an alarm.
  if (incarnation.value == 0 && memory_.incarnation().number == 0) return Tell();
  const Memory::Verdict verdict =
      memory_.OnView(incarnation.value, incarnation.changed, view.store(), outside_.now());
  stale_ = verdict == Memory::Verdict::kStale;
  if (verdict == Memory::Verdict::kNew) {
    LOG_UNLIMITED(kWarning, "keeper", "the cluster's incarnation is {} now", incarnation.value);
    session_.Forget();
  }
  if (verdict == Memory::Verdict::kNew || verdict == Memory::Verdict::kCurrent) Believe(view);
  Publish();
  Run();
}

void Keeper::Believe(const etcd::View& view) {
  const etcd::Entry<cluster::SessionRecord>& mine = view.node(node_).session;
  unreadable_ = mine.unreadable;
  if (!unreadable_.empty()) return;
  last_ = std::max(last_, mine.value.id);
  if (durable_incarnation_ != memory_.incarnation().number) {
    held_ = mine;
    return;
  }
  session_.OnView(mine.value, mine.changed);
}

// What the session says, to those who read pages and to the disk.
void Keeper::Publish() {
  const cluster::DeadlinePage& page = session_.page();
  const bool live = session_.view(outside_.now()).live;
  if (live) {
    last_ = std::max(last_, page.session);
    if (live_ != page.session || !page_) {
      page_.reset();  // poisons the one before
      live_ = page.session;
      Result<cluster::PageWriter> made = cluster::PageWriter::Create(page);
      if (made) {
        page_.emplace(std::move(*made));
      } else {
        LOG(kError, "keeper", "{}", made.error().message);
      }
    }
  }
  if (!page_) return;
  if (live) {
    page_->Publish(page);
  } else {
    page_.reset();
  }
}

void Keeper::End() {
  if (State() != saved_) outside_.memory->Save(State(), {});
}

void Keeper::Remember() {
  const MemoryState state = State();
  const Time now = outside_.now();
  const bool at_once = state.incarnation != saved_.incarnation || state.alarmed != saved_.alarmed;
  const bool needed = state != saved_ || durable_incarnation_ != state.incarnation;
  if (!needed || (!at_once && now - saved_at_ < kSaveEvery)) return;
  saved_ = state;
  saved_at_ = now;
  outside_.memory->Save(state, [this, incarnation = state.incarnation] {
    durable_incarnation_ = std::max(durable_incarnation_, incarnation);
    if (durable_incarnation_ != memory_.incarnation().number || !held_) return;
    const auto mine = *std::exchange(held_, std::nullopt);
    session_.OnView(mine.value, mine.changed);
    Run();
  });
}

MemoryState Keeper::State() const {
  return {memory_.incarnation().number, memory_.incarnation().revision, memory_.highest(),
          memory_.alarmed()};
}

View Keeper::view() const {
  View view;
  const cluster::SessionView session = session_.view(outside_.now());
  view.node = node_;
  view.phase = session_.phase();
  view.session = live_;
  view.opened = session.live ? session.opened : cluster::Revision{};
  view.last = last_;
  view.wants_quiet = !quiet();
  view.drained = drained_;
  view.vote_given_up = session_.vote_given_up();
  view.incarnation = memory_.incarnation();
  view.highest = memory_.highest();
  view.alarmed = memory_.alarmed();
  view.trouble = session.live ? "" : Trouble();
  return view;
}

std::string Keeper::Trouble() const {
  if (memory_.alarmed()) return "etcd shows less than this node has seen of it: it went back";
  if (!seen_) return "nothing of etcd was seen yet";
  if (memory_.incarnation().number == 0) return "etcd holds no cluster yet";
  if (!unreadable_.empty()) return fmt::format("this node's record: {}", unreadable_);
  if (stale_) return "etcd shows an earlier revision than this node has seen";
  if (held_) return "the cluster's incarnation is not on the disk yet";
  if (drained_) return "the node is drained";
  if (!quiet()) return "machines of the session before are not known to be still";
  return "a majority of etcd has not answered";
}

void Keeper::Tell() {
  View now = view();
  if (now.SaysTheSame(told_)) return;
  if (now.opened.value != 0 && told_.opened.value == 0)
    LOG_UNLIMITED(kInfo, "keeper", "session {}.{} has begun", now.session.incarnation,
                  now.session.number);
  if (now.opened.value == 0 && told_.opened.value != 0)
    LOG_UNLIMITED(kWarning, "keeper", "session {}.{} is over", told_.session.incarnation,
                  told_.session.number);
  if (now.alarmed && !told_.alarmed)
    LOG_UNLIMITED(kError, "keeper", "etcd shows less than was seen of it; stopped at revision {}",
                  now.highest.value);
  told_ = std::move(now);
  outside_.on_change();
}

}  // namespace gemel::keeper
