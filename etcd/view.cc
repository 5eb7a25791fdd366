#include "etcd/view.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "etcd/codec.h"

namespace gemel::etcd {
namespace {

template <class T>
Entry<T> EntryOf(const KeyValue& found, Result<T> decoded) {
  Entry<T> entry{{}, {found.changed}, {}};
  if (decoded) {
    entry.value = std::move(*decoded);
  } else {
    entry.unreadable = std::move(decoded).error().message;
  }
  return entry;
}

}  // namespace

bool ViewChange::only_beats() const {
  return !whole && !keys.empty() && std::ranges::all_of(keys, [](const cluster::Key& key) {
    return key.kind == cluster::KeyKind::kBeat;
  });
}

bool ViewChange::only_work() const {
  return !whole && !keys.empty() && std::ranges::all_of(keys, [](const cluster::Key& key) {
    return key.kind == cluster::KeyKind::kBeat || key.kind == cluster::KeyKind::kVm;
  });
}

const NodeEntry& View::node(cluster::NodeId id) const {
  static const NodeEntry kNone;
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? kNone : found->second;
}

void View::Reset(const KvSnapshot& snapshot) {
  *this = View();
  for (const KeyValue& found : snapshot.keys) {
    const std::optional<cluster::Key> key = DecodeKey(found.key);
    if (key) Take(*key, {found, false});
  }
  store_ = {snapshot.revision};
}

ViewChange View::Apply(std::span<const KeyEvent> events) {
  ViewChange change;
  for (const KeyEvent& event : events) {
    store_ = std::max(store_, cluster::Revision{event.key_value.changed});
    const std::optional<cluster::Key> key = DecodeKey(event.key_value.key);
    if (!key) continue;
    Take(*key, event);
    if (std::find(change.keys.begin(), change.keys.end(), *key) == change.keys.end())
      change.keys.push_back(*key);
  }
  return change;
}

void View::Take(const cluster::Key& key, const KeyEvent& event) {
  const KeyValue& found = event.key_value;
  switch (key.kind) {
    case cluster::KeyKind::kIncarnation:
      incarnation_ =
          event.deleted ? Entry<std::uint64_t>{} : EntryOf(found, DecodeIncarnation(found.value));
      return;
    case cluster::KeyKind::kSession:
      nodes_[key.id].session = event.deleted ? Entry<cluster::SessionRecord>{}
                                             : EntryOf(found, DecodeSession(found.value));
      return;
    case cluster::KeyKind::kBeat:
      nodes_[key.id].beat =
          event.deleted ? Entry<std::uint64_t>{} : EntryOf(found, DecodeBeat(found.value));
      return;
    case cluster::KeyKind::kVm:
      if (event.deleted) {
        vms_.erase(key.id);
      } else {
        vms_[key.id] = EntryOf(found, DecodeOwnership(found.value));
      }
      return;
  }
}

}  // namespace gemel::etcd
