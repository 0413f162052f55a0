# Targets for kiro in anybody's Makefile. GNU Make 3.81 or newer.
#
#     include $(or $(shell kiro make-path),$(error kiro is missing: pip install kiro-invoke))
#
# (A plain `include $(shell kiro make-path)` includes nothing, and says nothing, where kiro is missing.)
# What may be set before that line:
#     KIRO          the program, as a shell takes it (kiro)
#     KIRO_PREFIX   what all names begin with, as `kiro-`, so that none is one of yours (nothing)
#     KIRO_TARGETS  which there are; besides those below: build up down logs setup config classify affected
#                   replay-history pin-images
#     KIRO_NEEDS    what is to be made before any of them (nothing)
#     KIRO_ARGS_warm-cache, and so on: options that a target always gives
# On the command line: SERVICE="api web" names services, ARGS="--dry-run" gives further options, quoted as for a shell.
# `make kiro-help` lists all. No target sets up a Docker engine.
KIRO ?= kiro
KIRO_PREFIX ?=
KIRO_TARGETS ?= warm-cache test-build-performance clean-cache show-cache refresh-cache watch report doctor
KIRO_NEEDS ?=

kiro_help_warm-cache := Build every stage of every image
kiro_help_refresh-cache := Make the caches anew, then remove what that replaced
kiro_help_show-cache := Show what the Docker engine holds of this project
kiro_help_clean-cache := Remove layers, mounts and images of this project (ARGS=--dry-run: list them)
kiro_help_test-build-performance := Measure how fast images are built, and judge it (ARGS=--quick: a few minutes)
kiro_help_watch := Keep what the services serve equal to what is saved (SERVICE=api: that one)
kiro_help_report := Tell what the recorded builds come to (ARGS="--output report.html")
kiro_help_doctor := Find what makes builds slow (ARGS=--fix: mend what can be)
kiro_help_pin-images := Write the digests of base images into Dockerfiles (ARGS=--update: refresh them)
kiro_help_build := Build the development images (ARGS=--prod: the production ones)
kiro_help_up := Build what changed and start the services
kiro_help_down := Stop the services
kiro_help_logs := Show the logs of the services (ARGS=--follow: go on)
kiro_help_setup := Make sure of a Docker engine
kiro_help_config := Print every setting, its value and where it came from
kiro_help_classify := Tell what changed since the last build, and what it means
kiro_help_affected := Tell which services a revision would make otherwise (ARGS="--since origin/main")
kiro_help_replay-history := Tell which past commits changed dependencies (ARGS="--root api")

# Of these SERVICE is asked; the others know no services.
kiro_of_services := warm-cache refresh-cache show-cache clean-cache test-build-performance watch build up logs config classify affected doctor pin-images

kiro_comma := ,
define kiro_newline


endef
# What a person or the environment gave is taken as it is written: a `$` in it is none of Make's.
kiro_written = $(if $(filter undefined,$(origin $(1))),,$(if $(filter file override,$(origin $(1))),$($(1)),$(value $(1))))
kiro_word = $(if $(1), $(1))
kiro_quoted = '$(subst ','\'',$(1))'
kiro_services = $(foreach each,$(subst $(kiro_comma), ,$(call kiro_written,SERVICE)),--service $(call kiro_quoted,$(each)))
kiro_more = $(subst $(kiro_newline), ,$(call kiro_written,ARGS))
kiro_asked = $(if $(filter $(1),$(kiro_of_services)),$(kiro_services),$(if $(filter command,$(firstword $(origin SERVICE))),$(error $(KIRO_PREFIX)$(1) is about all services: leave SERVICE out)))

# Including this changes no default goal.
kiro_goal := $(.DEFAULT_GOAL)

define kiro_target
.PHONY: $(KIRO_PREFIX)$(1)
$(KIRO_PREFIX)$(1): $(KIRO_NEEDS)
	@set -- $$(KIRO); command -v "$$$$1" >/dev/null 2>&1 || { echo "$$(KIRO) is missing: pip install kiro-invoke, or set KIRO" >&2; exit 2; }
	@$$(KIRO) $(1)$$(call kiro_word,$$(call kiro_written,KIRO_ARGS_$(1)))$$(call kiro_word,$$(call kiro_asked,$(1)))$$(call kiro_word,$$(kiro_more))

kiro-help: kiro-help-$(1)
.PHONY: kiro-help-$(1)
kiro-help-$(1):
	@printf '  %-22s %s\n' '$(KIRO_PREFIX)$(1)' '$$(kiro_help_$(1))'
endef

.PHONY: kiro-help
kiro-help:
$(foreach each,$(KIRO_TARGETS),$(if $(kiro_help_$(each)),,$(error KIRO_TARGETS: kiro has no $(each)))$(eval $(call kiro_target,$(each))))

.DEFAULT_GOAL := $(kiro_goal)
