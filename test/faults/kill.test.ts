import { storeSettings } from '../store/settings.js'
import { killing } from './killing.js'

for (const settings of storeSettings) killing(settings)
