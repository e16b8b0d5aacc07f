/** @module-tag device-mapper */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { notInstalled, unless } from '../support/needs.js'
import { findProgram } from '../support/program.js'
import { isInUserModeLinux } from '../support/tier.js'
import { noThinPools, SMALL, thinFixture } from './thin-fixture.js'

const CONTROL = '/run/udev/control'
const isRunning = existsSync(CONTROL)
const noUdev =
  isRunning || isInUserModeLinux
    ? notInstalled('udevadm')
    : 'udev is not running, and tests start it only in User-Mode Linux'

describe('devicemapper with udev', unless(noThinPools, noUdev), () => {
  let udev: ReturnType<typeof spawn> | undefined

  beforeAll(async () => {
    if (isRunning) return
    mkdirSync('/run/udev', { recursive: true })
    udev = spawn(findProgram('udevadm') ?? '', [], { argv0: 'systemd-udevd', stdio: 'ignore' })
    while (!existsSync(CONTROL)) await sleep(50)
  })
  afterAll(() => {
    udev?.kill()
  })

  it.each([true, false])(
    'creates and removes devices while udev handles their events, deferred removal: %s',
    async (deferred) => {
      await using fixture = thinFixture()
      const driver = await fixture.open({ ...SMALL.ext4, 'dm.use_deferred_removal': deferred })
      await driver.create('base')
      for (let round = 0; round < 8; round++) {
        await driver.createReadWrite('container', 'base')
        const { fs } = await driver.get('container')
        await fs.writeFile('/round', String(round))
        await driver.put('container')
        await driver.remove('container')
      }
      const rows = Object.fromEntries(await driver.status())
      expect(rows['Udev Sync Supported']).toBe('true')
      await expect.poll(() => readdirSync('/dev/mapper')).toContain(rows['Pool Name'])
      expect(await driver.list()).toEqual(['base'])
    },
  )
})
