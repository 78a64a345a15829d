# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both TUF clients of the project against one simulated repository.

``controller.py`` and ``device.py`` are programs that follow the command-line protocol of the public TUF conformance
suite, which is on no registry: a checkout of it can be pointed at either. The tests here cover the same classes of
behaviour and those that the suite leaves out.
"""
