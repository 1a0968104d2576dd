#include "migrations/running.hpp"

namespace sor::migrations {

namespace {

permission permitted = permission::none;
const char* version = nullptr;

} // namespace

permission current_permission() {
    return permitted;
}

const char* current_version() {
    return version;
}

} // namespace sor::migrations
