#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace gemel {
namespace {

Status Fail() { return InvalidArgument("cpus: {}: too many", 200); }
Result<std::unique_ptr<int>> PassOn() {
  RETURN_IF_ERROR(Fail());
  return std::make_unique<int>(1);
}
Result<int> Unwrap(Result<std::unique_ptr<int>> in) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> value, std::move(in));
  return *value;
}

TEST(ResultTest, ReturnIfError_PassesTheErrorOn) {
  const auto result = PassOn();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Code::kInvalidArgument);
  EXPECT_EQ(result.error().message, "cpus: 200: too many");
}

TEST(ResultTest, AssignOrReturn_MovesTheValueOut) {
  const auto result = Unwrap(std::make_unique<int>(7));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(*result, 7);
}

TEST(ResultTest, ErrnoError_NamesTheThingAndTheReason) {
  const Error error = ErrnoError(ENOENT, "/no/such").error();
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_EQ(error.message, "/no/such: No such file or directory");
}

TEST(ResultTest, WithContext_PutsTheOutermostFirst) {
  const Error error = WithContext(Error{Code::kInternal, "inner"}, "outer").error();
  EXPECT_EQ(error.message, "outer: inner");
}

}  // namespace
}  // namespace gemel
