#include <fmt/core.h>

#include "mos/base/describe.h"
#include "mos/jobs/picture_requests.h"
#include "mos/jobs/pictures.h"
#include "studio_commands.h"

namespace mos::app {
namespace {

struct PicturesFlags {
  bool requests = false;
};

template <class Visitor>
void describe(Visitor& visit, PicturesFlags& own) {
  visit("requests", own.requests,
        "answer requests on stdin, one JSON object a line (mos/jobs/picture_requests.h): for mos "
        "studio");
}

std::string help_of_pictures() {
  return "usage: mos pictures --data FOLDER [options]\n"
         "\n"
         "Says what tuning would see of the pictures of a concept, as JSON: the size of each, its "
         "mask\n"
         "and caption, the first crops that a run draws, blurred, small and doubled ones, and "
         "what\n"
         "`mos tune --check` finds.\n"
         "\n" +
         flag_help<jobs::PicturesJob>() + flag_help<PicturesFlags>();
}

int run_pictures(Flags& flags, const Terminal&) {
  PicturesFlags own;
  flags.read(own);
  jobs::PicturesJob job;
  flags.read(job);
  flags.refuse_words();
  if (own.requests) {
    jobs::answer_requests();
  } else {
    fmt::print("{}\n", json_text(jobs::look_at_pictures(job), 2));
  }
  return 0;
}

}  // namespace

const Command kPictures = {.name = "pictures",
                           .summary = "what tuning sees of a folder of pictures",
                           .options = options_of<jobs::PicturesJob, PicturesFlags>,
                           .help = help_of_pictures,
                           .run = run_pictures};

}  // namespace mos::app
