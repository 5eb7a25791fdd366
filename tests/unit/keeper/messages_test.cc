#include "keeper/messages.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace gemel::keeper {
namespace {

View Sample() {
  View view;
  view.node = 2;
  view.phase = cluster::Session::Phase::kLive;
  view.session = {3, 4};
  view.opened = {70};
  view.last = {3, 4};
  view.wants_quiet = false;
  view.drained = true;
  view.incarnation = {3, {5}, {123}};
  view.highest = {90};
  view.trouble = "none";
  return view;
}

TEST(StatementTest, Said_ComesBack) {
  EXPECT_EQ(DecodeStatement(EncodeStatement(Quiet{{3, 4}})).value(), Statement(Quiet{{3, 4}}));
  EXPECT_EQ(DecodeStatement(EncodeStatement(Drained{true})).value(), Statement(Drained{true}));
}

TEST(StatementTest, UnknownOne_IsNothing) {
  EXPECT_EQ(DecodeStatement({"", {}}).value(), Statement());
}

TEST(StatementTest, GarbageOrADescriptor_IsRefused) {
  EXPECT_FALSE(DecodeStatement({"\xff", {}}));
  ControlMessage message = EncodeStatement(Quiet{});
  message.fds.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(DecodeStatement(message));
}

TEST(ViewMessageTest, Said_ComesBack) {
  const auto decoded = DecodeView(EncodeView({Sample(), {}}));
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->view.SaysTheSame(Sample()));
  EXPECT_EQ(decoded->view.highest.value, 90);
  EXPECT_FALSE(decoded->page);
}

TEST(ViewMessageTest, Page_ComesAlong) {
  UniqueFd page(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto decoded = DecodeView(EncodeView({Sample(), std::move(page)}));
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->page);
}

TEST(ViewMessageTest, DescriptorMissingOrTooMany_IsRefused) {
  ControlMessage message =
      EncodeView({Sample(), UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))});
  message.fds.clear();
  EXPECT_FALSE(DecodeView(std::move(message)));
  ControlMessage more = EncodeView({Sample(), {}});
  more.fds.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(DecodeView(std::move(more)));
}

TEST(ViewMessageTest, WithoutANodeOrPhase_IsRefused) {
  View view = Sample();
  view.node = 0;
  EXPECT_FALSE(DecodeView(EncodeView({view, {}})));
  EXPECT_FALSE(DecodeView({"", {}}));
}

TEST(ViewMessageTest, SessionThatIsOver_IsNotLive) {
  View view = Sample();
  EXPECT_TRUE(view.session_view().live);
  view.opened = {};
  EXPECT_FALSE(view.session_view().live);
}

}  // namespace
}  // namespace gemel::keeper
