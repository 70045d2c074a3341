#include "tests/support/errors.h"

#include <gmock/gmock.h>

#include <atomic>
#include <csignal>
#include <set>
#include <thread>

#include "mos/base/error_names.h"
#include "mos/base/factor.h"
#include "mos/base/field_rules.h"
#include "mos/base/naming.h"
#include "mos/base/progress.h"
#include "mos/base/require.h"
#include "mos/base/wishes.h"

namespace mos {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr ErrorKind kKinds[] = {ErrorKind::kUsage,    ErrorKind::kIo,     ErrorKind::kFormat,
                                ErrorKind::kMismatch, ErrorKind::kDevice, ErrorKind::kCancelled};

TEST(ErrorKinds, HaveTheExitCodesThatAreDocumented) {
  EXPECT_EQ(exit_code(ErrorKind::kUsage), 2);
  EXPECT_EQ(exit_code(ErrorKind::kIo), 3);
  EXPECT_EQ(exit_code(ErrorKind::kFormat), 3);
  EXPECT_EQ(exit_code(ErrorKind::kMismatch), 4);
  EXPECT_EQ(exit_code(ErrorKind::kDevice), 5);
  EXPECT_EQ(exit_code(ErrorKind::kCancelled), 130);  // as a shell says of SIGINT
}

TEST(ErrorKinds, HaveANameEachForProgramsThatRead) {
  std::set<std::string> names;
  for (const auto kind : kKinds) {
    const auto name = choice_name(kind);
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(choice_named<ErrorKind>(name), kind);
    names.insert(name);
  }
  EXPECT_EQ(names.size(), std::size(kKinds));
  EXPECT_EQ(choice_named<ErrorKind>("Usage"), std::nullopt);
  EXPECT_EQ(choice_named<ErrorKind>(""), std::nullopt);
}

TEST(Require, ThrowsTheSentenceWhereSomethingDoesNotHold) {
  EXPECT_NO_THROW(require(true, "never said"));
  EXPECT_EQ(message_of(ErrorKind::kUsage, [] { require(false, "steps are 0"); }), "steps are 0");
}

TEST(Naming, PutsTheFileBeforeAMessageOnceAndKeepsTheKind) {
  EXPECT_EQ(naming("x.json", [] { return 7; }), 7);
  const auto of = [](const std::string& said) {
    return message_of(ErrorKind::kMismatch, [&] {
      naming("x.json", [&]() -> int { throw Error(ErrorKind::kMismatch, said); });
    });
  };
  EXPECT_EQ(of("steps are 0"), "x.json: steps are 0");
  EXPECT_EQ(of("in x.json steps are 0"), "in x.json steps are 0");
  // Errors of others are theirs.
  EXPECT_THROW(naming("x.json", []() -> int { throw std::bad_alloc(); }), std::bad_alloc);
}

TEST(FieldRules, SayTheBoundThatWasPassedAndNothingOfTheOther) {
  const auto refusal = [](double value, const FieldRules& rules) {
    return message_of(ErrorKind::kUsage, [&] { check_number("--x", value, "THIS", rules); });
  };
  EXPECT_EQ(refusal(0.5, at_least(1)), "--x is THIS, expected at least 1");
  EXPECT_EQ(refusal(3, {.most = 2}), "--x is THIS, expected at most 2");
  EXPECT_EQ(refusal(3, between(1, 2)), "--x is THIS, expected a value from 1 to 2");
  for (const double within : {1.0, 1.5, 2.0}) {
    EXPECT_NO_THROW(check_number("--x", within, "", between(1, 2))) << within;
  }
  const auto infinity = std::numeric_limits<double>::infinity();
  for (const double odd : {std::nan(""), infinity, -infinity}) {
    EXPECT_THAT(refusal(odd, between(1, 2)), HasSubstr("from 1 to 2")) << odd;
  }
  EXPECT_NO_THROW(check_number("--x", -infinity, "", {}));  // nothing is asked of it
}

TEST(FieldRules, ChoicesAreNamedWithTheNearest) {
  EXPECT_NO_THROW(check_choice("--method", "svd", {"sum", "svd"}));
  const auto refusal = [](const std::string& value) {
    return message_of(ErrorKind::kUsage, [&] {
      check_choice("--method", value, {"gradient", "magnitude"});
    });
  };
  EXPECT_THAT(refusal("gradeint"), AllOf(HasSubstr("--method is \"gradeint\""),
                                         HasSubstr("gradient, magnitude"), HasSubstr("mean")));
  EXPECT_THAT(refusal("something else"), Not(HasSubstr("mean")));
  EXPECT_THAT(refusal("\n"), HasSubstr("\\x0a"));
}

TEST(Factors, BeyondWhatMakesInfinitiesAreRefusedByTheirName) {
  for (const double fine : {0.0, -1.0, kLargestFactor, -kLargestFactor}) {
    EXPECT_NO_THROW(check_factor("--weight", fine)) << fine;
  }
  EXPECT_THAT(message_of(ErrorKind::kUsage, [] { check_factor("--weight", 1e5); }),
              HasSubstr("--weight is 100000"));
  EXPECT_THAT(message_of(ErrorKind::kUsage, [] { check_factor("--weight", std::nan("")); }),
              HasSubstr("--weight is nan"));
}

TEST(CancelTokens, AreHeardInEveryThreadAndStayCancelled) {
  CancelToken token;
  EXPECT_NO_THROW(token.check());
  std::atomic<int> steps = 0;
  std::thread worker([&] {
    try {
      while (true) {
        token.check();
        ++steps;
        std::this_thread::yield();
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
    }
  });
  while (steps == 0) std::this_thread::yield();
  token.cancel();
  worker.join();
  EXPECT_TRUE(token.cancelled());
  message_of(ErrorKind::kCancelled, [&] { token.check(); });
}

Wishes* wishes_of_signal = nullptr;

TEST(WishList, AWishOfASignalIsTakenOnce) {
  Wishes wishes;
  wishes_of_signal = &wishes;
  const auto former = std::signal(SIGUSR1, [](int) {
    wishes_of_signal->ask_to_save();
    wishes_of_signal->ask_to_save();
  });
  EXPECT_FALSE(wishes.take_save());
  std::raise(SIGUSR1);
  EXPECT_FALSE(wishes.take_show()) << "another wish";
  EXPECT_TRUE(wishes.take_save());
  EXPECT_FALSE(wishes.take_save());
  std::signal(SIGUSR1, former);
  wishes_of_signal = nullptr;
}

}  // namespace
}  // namespace mos
