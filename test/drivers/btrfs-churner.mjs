// Creates layers in the given root and prints their names, until it is killed.
import { btrfs } from '#layerstack/drivers/btrfs/index.js'

const driver = await btrfs.open({ root: process.argv[2], engine: 'kernel', readOnly: false })
for (let index = 0; ; index++) {
  await driver.create(`layer${index}`, index === 0 ? undefined : `layer${index - 1}`)
  const { fs } = await driver.get(`layer${index}`)
  await fs.writeFile(`/file${index}`, 'x'.repeat(10_000))
  await driver.put(`layer${index}`)
  process.stdout.write(`layer${index}\n`)
}
