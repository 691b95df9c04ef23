# qcow2blk: what a newcomer runs. "make help" lists the targets.
SHELL       := /bin/bash
.DEFAULT_GOAL := build

PREFIX      ?= /usr/local
DESTDIR     ?=
LIBDIR      ?= $(PREFIX)/lib
VERSION     := $(shell sed -n 's:.*<VersionPrefix>\(.*\)</VersionPrefix>.*:\1:p' Directory.Build.props)
# What is built for another machine than this one does not take the place of what runs here.
HOST_RID    := $(if $(filter aarch64,$(shell uname -m)),linux-arm64,linux-x64)
RID         ?= $(HOST_RID)
OUTPUT      := artifacts/$(if $(filter-out $(HOST_RID),$(RID)),$(RID:linux-%=%)/)
NATIVE      := $(OUTPUT)qcow2blk
LIBRARY     := $(OUTPUT)libqcow2blk.so
CONTROL     := artifacts/kernel/ublk-control-tests
DEVICE      := artifacts/kernel/library-device
DEBS        := artifacts/kernel/qcow2blk-new.deb artifacts/kernel/qcow2blk-old.deb
bindir      := $(DESTDIR)$(PREFIX)/bin
# mount(8) looks for helpers in /sbin alone, which is /usr/sbin: mount.qcow2(8) says what to do for another prefix.
sbindir     := $(DESTDIR)$(PREFIX)/sbin
NAMES       := mount.qcow2 umount.qcow2 qcow2-dm
includedir  := $(DESTDIR)$(PREFIX)/include
libdir      := $(DESTDIR)$(LIBDIR)
bashdir     := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
zshdir      := $(DESTDIR)$(PREFIX)/share/zsh/site-functions
fishdir     := $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
# udev and systemd look into /usr/local, too: /usr/local/lib/udev/rules.d since 251, /usr/local/lib/systemd always.
udevdir     := $(DESTDIR)$(PREFIX)/lib/udev/rules.d
unitdir     := $(DESTDIR)$(PREFIX)/lib/systemd/system
generatordir := $(DESTDIR)$(PREFIX)/lib/systemd/system-generators
sysusersdir := $(DESTDIR)$(PREFIX)/lib/sysusers.d
# Configuration of devices is below /etc, whatever the prefix: the units read it there.
confdir     := $(DESTDIR)/etc/qcow2blk
# Profiles that wait for an administrator to copy them: images may be anywhere.
apparmordir := $(DESTDIR)$(PREFIX)/share/apparmor/extra-profiles
UNITS       := qcow2blk@.service qcow2blk-shutdown.service qcow2blk-nbd@.socket qcow2blk-nbd@.service
sharedir    := $(DESTDIR)$(PREFIX)/share/qcow2blk
docdir      := $(DESTDIR)$(PREFIX)/share/doc/qcow2blk
mandir      := $(DESTDIR)$(PREFIX)/share/man
MANUAL      := artifacts/man

export DOTNET_CLI_TELEMETRY_OPTOUT := 1
export DOTNET_NOLOGO := 1

# Folders are listed too: adding or deleting a file changes its folder's time.
SOURCES := $(shell find cli libqcow2 packaging/completions \( -name bin -o -name obj \) -prune -o -print) \
           Directory.Build.props Directory.Packages.props native.props
ABI_SOURCES := $(shell find abi include libqcow2 \( -name bin -o -name obj \) -prune -o -print) \
           Directory.Build.props Directory.Packages.props native.props

.PHONY: build manual test test-all test-check test-manual test-abi test-kernel test-arm64 demo demo-fleet bench bench-fleet bench-kernel bench-library install uninstall check clean help deps

build: $(NATIVE) $(LIBRARY) ## build artifacts/qcow2blk and artifacts/libqcow2blk.so, which need no .NET; RID=linux-arm64: in artifacts/arm64

$(NATIVE): $(SOURCES) | deps
	@packaging/publish.sh $(RID) $@

$(LIBRARY): $(ABI_SOURCES) | deps
	@packaging/publish.sh $(RID) $@ abi

$(CONTROL): $(SOURCES) $(wildcard tests/kernel/control/*) | deps
	@packaging/publish.sh $(RID) $@ tests/kernel/control

# What the case "library" runs in the virtual machines.
$(DEVICE): tests/kernel/library/block_device.c include/qcow2blk.h $(LIBRARY)
	@mkdir -p $(@D)
	gcc -O2 -Wall -Wextra -Werror -Iinclude $< -o $@ $(LIBRARY) -pthread

# What the case "package" upgrades from and to. Everything that may be in the package counts.
$(DEBS): artifacts/kernel/qcow2blk-%.deb: $(NATIVE) $(LIBRARY) nfpm.yaml Makefile $(shell find packaging $(wildcard docs/man) -type f)
	@mkdir -p $(@D)/$*
	@/usr/bin/python3 packaging/packages/build.py --format deb --only qcow2blk --output $(@D)/$* --version $(if $(filter old,$*),0.0.9,$(VERSION))
	@mv $(@D)/$*/qcow2blk_*.deb $@

deps:
	@packaging/install-build-deps.sh $(if $(filter-out $(HOST_RID),$(RID)),$(RID:linux-%=%),build)

manual: ## build the man pages, and HTML if mandoc is installed, in artifacts/man
	@/usr/bin/python3 packaging/manual/build.py $(MANUAL)

test-manual: ## test the manual: mandoc's opinion, references, the examples
	@packaging/install-build-deps.sh test
	@$(MAKE) --no-print-directory build
	@tests/run.sh manual

test: ## run everything that needs no virtual machine; ends with "N passed, N failed"
	@packaging/install-build-deps.sh test
	@$(MAKE) --no-print-directory build
	@tests/kernel/fetch-headers.sh || echo 'make test: going on without the newest kernel headers' >&2
	@tests/run.sh

test-all: ## test, with every combination of the matrix of images and 1,200 damaged images; takes an hour
	@packaging/install-build-deps.sh test
	@$(MAKE) --no-print-directory build
	@tests/kernel/fetch-headers.sh || echo 'make test-all: going on without the newest kernel headers' >&2
	@QCOW2BLK_MATRIX=all QCOW2BLK_CHECK_ROUNDS=25 QCOW2BLK_TEST_TIMEOUT=$${QCOW2BLK_TEST_TIMEOUT:-90m} tests/run.sh

test-check: ## compare check and repair with qemu-img on 1,200 damaged images; "make test" has a sample
	@QCOW2BLK_CHECK_ROUNDS=25 tests/run.sh unit DamagedImagesTests

test-kernel: ## test block devices on three kernels in virtual machines; KERNEL="--kernel 6.12 --only kill" narrows it
	@packaging/install-build-deps.sh kernel
	@$(MAKE) --no-print-directory build $(CONTROL) $(DEVICE) $(DEBS)
	@/usr/bin/python3 tests/kernel/run.py $(KERNEL)

test-abi: ## test the C library and its bindings as installed; ABI=--short is quicker
	@packaging/install-build-deps.sh abi
	@$(MAKE) --no-print-directory build
	@tests/abi/run.sh $(ABI)

test-arm64: ## build for arm64 and try that binary under qemu's user emulation
	@packaging/install-build-deps.sh test-arm64
	@$(MAKE) --no-print-directory build RID=linux-arm64
	@tests/arm64/smoke.sh

.PHONY: package test-packages
package: ## build deb and rpm packages into artifacts/packages; RID=linux-arm64: for that machine
	@packaging/install-build-deps.sh packages
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 packaging/packages/build.py --rid $(RID)

test-packages: ## install, use, upgrade and remove the packages in clean roots of Debian 12 and 13 and by rpm; PACKAGES=WORD narrows it
	@packaging/install-build-deps.sh packages
	@$(MAKE) --no-print-directory build
	@tests/packages/run.sh $(PACKAGES)

demo: ## attach a real file system image and put it through read, write, snapshot, check
	@packaging/install-build-deps.sh demo
	@$(MAKE) --no-print-directory build
	@tests/demo/demo.sh

demo-fleet: ## boot a few nodes from one image in a web server: cold, with a trace, warm, and all at once
	@packaging/install-build-deps.sh fleet
	@$(MAKE) --no-print-directory build
	@tests/fleet/fleet.py --demo $(FLEET)

bench-fleet: ## the same with 200 nodes, beside qemu-nbd and nbdkit; FLEET="--nodes 50 --rtt 100" narrows it
	@packaging/install-build-deps.sh fleet
	@$(MAKE) --no-print-directory build
	@tests/fleet/fleet.py --others $(FLEET)

bench: ## measure against qemu-nbd, and the C library; BENCH="--quick --cells 4k-randread-qd16" narrows it
	@packaging/install-build-deps.sh bench
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 tests/bench/bench.py $(BENCH)
	@/usr/bin/python3 tests/bench/library.py $(if $(findstring --quick,$(BENCH)),--quick)
	@/usr/bin/python3 tests/bench/bases.py $(if $(findstring --quick,$(BENCH)),--quick)

bench-library: ## measure the C library alone; BENCH=--quick narrows it
	@packaging/install-build-deps.sh bench
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 tests/bench/library.py $(BENCH)

bench-kernel: ## measure the kernel block devices against qemu-nbd -c, in a virtual machine; BENCH="--quick --cells '4k-*'" narrows it
	@packaging/install-build-deps.sh kernel
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 tests/bench/kernel.py $(BENCH)

install: ## install into $(DESTDIR)$(PREFIX); run "make build" first
	@for file in $(NATIVE) $(LIBRARY); do \
	    test -e $$file || { echo "make install: $$file does not exist (run \"make build\" first)" >&2; exit 1; }; done
	install -D -m 0755 $(NATIVE) $(bindir)/qcow2blk
	install -D -m 0644 include/qcow2blk.h $(includedir)/qcow2blk.h
	install -D -m 0644 $(LIBRARY) $(libdir)/libqcow2blk.so.$(VERSION)
	ln -sf libqcow2blk.so.$(VERSION) $(libdir)/libqcow2blk.so.0
	ln -sf libqcow2blk.so.0 $(libdir)/libqcow2blk.so
	install -d $(libdir)/pkgconfig
	sed 's:@prefix@:$(PREFIX):; s:@libdir@:$(LIBDIR):; s:@version@:$(VERSION):' packaging/qcow2blk.pc.in >$(libdir)/pkgconfig/qcow2blk.pc
	chmod 0644 $(libdir)/pkgconfig/qcow2blk.pc
	packaging/install-bindings.sh $(sharedir)/bindings
	install -D -m 0644 packaging/completions/qcow2blk.bash $(bashdir)/qcow2blk
	install -D -m 0644 packaging/completions/_qcow2blk $(zshdir)/_qcow2blk
	install -D -m 0644 packaging/completions/qcow2blk.fish $(fishdir)/qcow2blk.fish
	install -d $(udevdir) $(unitdir) $(generatordir) $(confdir)/nbd $(apparmordir)
	sed 's:@bindir@:$(PREFIX)/bin:' packaging/udev/60-qcow2blk.rules >$(udevdir)/60-qcow2blk.rules
	chmod 0644 $(udevdir)/60-qcow2blk.rules
	for unit in $(UNITS); do sed 's:@bindir@:$(PREFIX)/bin:' packaging/systemd/$$unit >$(unitdir)/$$unit || exit; done
	cd $(unitdir) && chmod 0644 $(UNITS)
	sed 's:@bindir@:$(PREFIX)/bin:' packaging/systemd/qcow2blk-generator >$(generatordir)/qcow2blk-generator
	chmod 0755 $(generatordir)/qcow2blk-generator
	install -D -m 0644 packaging/sysusers/qcow2blk.conf $(sysusersdir)/qcow2blk.conf
	sed 's:@bindir@:$(PREFIX)/bin:' packaging/apparmor/usr.bin.qcow2blk >$(apparmordir)/usr.bin.qcow2blk
	chmod 0644 $(apparmordir)/usr.bin.qcow2blk
	install -D -m 0644 packaging/apparmor/tunables/qcow2blk $(apparmordir)/tunables/qcow2blk
	install -d $(docdir)
	sed 's:@bindir@:$(PREFIX)/bin:' packaging/udev/61-ublk-unprivileged.rules.sample >$(docdir)/61-ublk-unprivileged.rules.sample
	/usr/bin/python3 packaging/manual/build.py $(MANUAL)
	packaging/manual/install.sh $(MANUAL) $(mandir) $(docdir)/html
	install -d $(sbindir)
	for name in $(NAMES); do ln -sf ../bin/qcow2blk $(sbindir)/$$name || exit; done

uninstall: ## remove what "make install" put there (same PREFIX and DESTDIR)
	rm -f $(bindir)/qcow2blk $(bashdir)/qcow2blk $(zshdir)/_qcow2blk $(fishdir)/qcow2blk.fish
	rm -f $(includedir)/qcow2blk.h $(libdir)/libqcow2blk.so $(libdir)/libqcow2blk.so.0 $(libdir)/libqcow2blk.so.$(VERSION)
	rm -f $(libdir)/pkgconfig/qcow2blk.pc
	rm -rf $(sharedir)
	rm -f $(udevdir)/60-qcow2blk.rules $(addprefix $(unitdir)/,$(UNITS)) $(generatordir)/qcow2blk-generator $(sysusersdir)/qcow2blk.conf
	rm -f $(apparmordir)/usr.bin.qcow2blk $(apparmordir)/tunables/qcow2blk
	rm -f $(docdir)/61-ublk-unprivileged.rules.sample
	rm -f $(mandir)/man[3578]/{qcow2blk,libqcow2blk,qcow2-dm.,mount.qcow2.,umount.qcow2.}*
	rm -rf $(docdir)/html
	rm -f $(addprefix $(sbindir)/,$(NAMES))

check: ## fail if the analyzers or "dotnet format" have anything to say
	@packaging/check-style.sh

clean: ## delete all that was built, test logs included
	rm -rf artifacts
	find abi cli libqcow2 tests \( -name bin -o -name obj -o -name __pycache__ \) -type d -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
