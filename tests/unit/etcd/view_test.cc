#include "etcd/view.h"

#include <gtest/gtest.h>

#include "etcd/codec.h"

namespace gemel::etcd {
namespace {

using cluster::Key;
using cluster::KeyKind;
using cluster::SessionRecord;
using cluster::SessionState;

const SessionRecord kOpen{{1, 4}, SessionState::kOpen};

KvSnapshot Snapshot() {
  return {20,
          {{"/gemel/nodes/incarnation", EncodeIncarnation(1), 3},
           {"/gemel/nodes/session/1", EncodeSession(kOpen), 11},
           {"/gemel/nodes/beat/1", EncodeBeat(5), 19}}};
}

TEST(ViewTest, Snapshot_IsOfTheStoresRevision) {
  View view;
  view.Reset(Snapshot());
  EXPECT_EQ(view.store().value, 20);
  EXPECT_EQ(view.incarnation().value, 1U);
  EXPECT_EQ(view.incarnation().changed.value, 3);
  EXPECT_EQ(view.node(1).session.value, kOpen);
  EXPECT_EQ(view.node(1).session.changed.value, 11);
  EXPECT_EQ(view.node(1).beat.changed.value, 19);
}

TEST(ViewTest, NodeThatIsNotThere_HasNoRevision) {
  EXPECT_EQ(View().node(2).session.changed.value, 0);
  EXPECT_EQ(View().incarnation().value, 0U);
}

TEST(ViewTest, Events_MoveTheRevisionAndNameTheirKeys) {
  View view;
  view.Reset(Snapshot());
  const std::vector<KeyEvent> events = {
      {{"/gemel/nodes/beat/1", EncodeBeat(6), 21}, false},
      {{"/gemel/later/thing", "", 22}, false},
  };
  const ViewChange change = view.Apply(events);
  EXPECT_FALSE(change.whole);
  EXPECT_EQ(change.keys, (std::vector<Key>{{KeyKind::kBeat, 1}}));
  EXPECT_EQ(view.store().value, 22);
  EXPECT_EQ(view.node(1).beat.changed.value, 21);
}

TEST(ViewTest, Deleted_IsNotThere) {
  View view;
  view.Reset(Snapshot());
  const std::vector<KeyEvent> events = {{{"/gemel/nodes/session/1", "", 21}, true},
                                        {{"/gemel/nodes/incarnation", "", 22}, true}};
  view.Apply(events);
  EXPECT_EQ(view.node(1).session.changed.value, 0);
  EXPECT_EQ(view.incarnation().value, 0U);
}

TEST(ViewTest, Unreadable_IsThereAndSaysSo) {
  View view;
  const std::vector<KeyEvent> events = {{{"/gemel/vms/7", "\xff", 21}, false}};
  view.Apply(events);
  ASSERT_TRUE(view.vms().contains(7));
  EXPECT_NE(view.vms().at(7).unreadable, "");
  EXPECT_EQ(view.vms().at(7).changed.value, 21);
}

TEST(ViewTest, ReadAnew_ForgetsWhatIsGone) {
  View view;
  view.Reset(Snapshot());
  view.Reset({9, {}});
  EXPECT_EQ(view.store().value, 9);
  EXPECT_EQ(view.node(1).session.changed.value, 0);
}

}  // namespace
}  // namespace gemel::etcd
