#include "mos/pretrain/adapter_training.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"

namespace mos::pretrain {
namespace {

TEST(ConditionKind, OtherNamesAreRefusedWithTheKnownOnes) {
  EXPECT_EQ(condition_kind("keypose"), ConditionKind::kKeypose);
  EXPECT_EQ(condition_kind("sketch"), ConditionKind::kSketch);
  try {
    condition_kind("pose");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_STREQ(error.what(), "--kind is \"pose\", expected keypose or sketch");
  }
}

}  // namespace
}  // namespace mos::pretrain
