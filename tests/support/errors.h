#pragma once

#include <gtest/gtest.h>

#include <string>

#include "mos/base/error.h"

namespace mos::test {

/// The message of the mos::Error of `kind` that `action` throws; the test fails where it throws
/// none.
template <class Action>
std::string message_of(ErrorKind kind, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// The same whatever its kind is.
template <class Action>
std::string message_of_any(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// The kind of the mos::Error that `action` throws; the test fails where it throws none.
template <class Action>
ErrorKind kind_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kIo;
}

}  // namespace mos::test
