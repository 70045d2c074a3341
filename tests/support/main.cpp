#include <gmock/gmock.h>

#include "mos/base/runtime.h"

/// The process of a test is set up like that of the program; without it a third of the time of the
/// long tests goes into pages that malloc gives back after every operation.
int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  mos::set_up_runtime();
  return RUN_ALL_TESTS();
}
