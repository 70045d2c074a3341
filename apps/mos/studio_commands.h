#pragma once

#include "command.h"

namespace mos::app {

/// The studio, and what it asks about files.
extern const Command kPictures, kStudio;

}  // namespace mos::app
