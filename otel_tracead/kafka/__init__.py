"""What the Kafka receiver and the Kafka exporter share: how to reach the brokers, encodings, what errors mean."""
