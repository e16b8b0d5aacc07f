/** @module-tag thorough */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expectSoundFile } from '../drivers/btrfs-fixture.js'
import { storeSettings } from '../store/settings.js'
import { notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'
import { killing } from './killing.js'

const canCheck = notInstalled('thin_check') === undefined

for (const settings of storeSettings) killing({ ...settings, expectSound })

async function expectSound(root: string): Promise<void> {
  await expectSoundFile(root)
  const pool = join(root, 'devicemapper/devicemapper/metadata')
  if (canCheck && existsSync(pool)) await run('thin_check', [pool])
}
