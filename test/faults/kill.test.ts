import { join } from 'node:path'
import { storeSettings } from '../store/settings.js'
import { notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'
import { killing } from './killing.js'

const canCheck = notInstalled('thin_check') === undefined

for (const settings of storeSettings) {
  killing({ ...settings, ...(settings.driver === 'devicemapper' && canCheck && { expectSound: checkPool }) })
}

async function checkPool(root: string): Promise<void> {
  await run('thin_check', [join(root, 'devicemapper/devicemapper/metadata')])
}
